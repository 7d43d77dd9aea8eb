"""What becomes of the metrics of workers that ended."""

import json

import pytest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import CollectorRegistry

from service.metrics import fold_dead_worker


def write(folder, kind, pid, values):
    file = MmapedDict(str(folder / f"{kind}_{pid}.db"))
    for (name, sample, labels), value in values.items():
        file.write_value(json.dumps([name, sample, dict(labels), "help"]), value, 0.0)
    file.close()


def collect(folder):
    registry = CollectorRegistry(support_collectors_without_names=True)
    MultiProcessCollector(registry, str(folder))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }


@pytest.fixture
def folder(tmp_path):
    for pid, count in ((11, 3.0), (12, 4.0), (13, 5.0)):
        write(tmp_path, "counter", pid, {("kiln_requests", "kiln_requests_total", (("code", "200"),)): count})
        buckets = {("d", "d_bucket", (("le", limit),)): count for limit in ("0.1", "+Inf")}
        write(tmp_path, "histogram", pid, buckets | {("d", "d_sum", ()): count / 10})
        write(tmp_path, "gauge_livesum", pid, {("g", "g", ()): 1.0})
    return tmp_path


def test_counters_and_histograms_of_the_dead_stay_and_their_gauges_go(folder):
    before = collect(folder)
    assert before["kiln_requests_total", (("code", "200"),)] == 12
    fold_dead_worker(11, folder)
    fold_dead_worker(12, folder)
    after = collect(folder)
    assert after.pop(("g", ())) == 1
    assert before.pop(("g", ())) == 3
    assert after == pytest.approx(before)


def test_files_of_the_dead_are_one_of_a_kind(folder):
    for pid in (11, 12, 13, 99):
        fold_dead_worker(pid, folder)
    assert sorted(path.name for path in folder.glob("*.db")) == ["counter_dead.db", "histogram_dead.db"]


def test_a_file_that_was_only_begun_is_put_away(folder):
    before = collect(folder)
    (folder / "counter_14.db").touch()
    fold_dead_worker(14, folder)
    assert not (folder / "counter_14.db").exists()
    assert collect(folder) == before

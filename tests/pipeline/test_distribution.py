"""Who trains together: TF_CONFIG, the meeting before the start, and the processes that are started again."""

import json
import socket
import sys
import threading

import pytest

from pipeline import distribution_loopback
from pipeline.distribution_cluster import check_distribution, read_cluster
from pipeline.distribution_loopback import supervise_workers
from pipeline.distribution_meeting import wait_for_workers
from pipeline.errors import ParamsError, WorkerLost

ADDRESSES = ["10.0.0.1:2222", "worker-1.kiln:2222"]
WORKERS = {"worker": ADDRESSES}


def config(cluster, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize("environment", [{}, {"TF_CONFIG": " "}, {"TF_CONFIG": "{}"}, config({})])
def test_without_a_list_of_workers_there_is_no_cluster(environment):
    assert read_cluster(environment) is None


def test_the_first_worker_is_the_chief_unless_one_is_named():
    assert [read_cluster(config(WORKERS, index=index)).index for index in (0, 1)] == [0, 1]
    named = {"worker": ADDRESSES, "chief": ["10.0.0.9:2222"]}
    chief, second = read_cluster(config(named, "chief")), read_cluster(config(named, "worker", "1"))
    assert chief.addresses == second.addresses == ("10.0.0.9:2222", *ADDRESSES)
    assert (chief.index, second.index) == (0, 2)
    assert chief.jobs == {"chief": 1, "worker": 2}


WRONG = [
    ({"TF_CONFIG": "worker"}, "TF_CONFIG: expected JSON, received 'worker'"),
    ({"TF_CONFIG": "[1]"}, "TF_CONFIG: expected an object with 'cluster' and 'task', received [1]"),
    (config({"ps": ADDRESSES}), "TF_CONFIG: cluster: expected lists of addresses under 'worker' and perhaps 'chief'"),
    (
        config({"worker": ["10.0.0.1"]}),
        "TF_CONFIG: cluster.worker: expected a list of host:port, received ['10.0.0.1']",
    ),
    (config({"worker": ["a:70000"]}), "TF_CONFIG: cluster.worker: expected a list of host:port"),
    (config({"worker": [ADDRESSES[0]] * 2}), "TF_CONFIG: cluster: expected another address for each worker"),
    (config({"chief": ADDRESSES}, "chief"), "TF_CONFIG: cluster.chief: expected one address"),
    (config(WORKERS, "chief"), "TF_CONFIG: task: expected the type 'worker' and an index"),
    (config(WORKERS, index=2), "TF_CONFIG: task.index: expected a number from 0 to 1, as 'worker' lists 2, received 2"),
    (config(WORKERS, index=None), "TF_CONFIG: task.index: expected a number from 0 to 1"),
]


@pytest.mark.parametrize(("environment", "sentence"), WRONG, ids=[sentence[11:45] for _, sentence in WRONG])
def test_a_wrong_tf_config_says_what_was_expected(environment, sentence):
    with pytest.raises(ParamsError) as caught:
        read_cluster(environment)
    assert sentence in str(caught.value)
    assert 'An example: {"cluster": {"worker": [' in str(caught.value)


def test_parameters_and_tf_config_must_fit_each_other():
    two, one = read_cluster(config(WORKERS)), read_cluster(config({"worker": ADDRESSES[:1]}))
    for kind, cluster in (
        ("none", None),
        ("mirrored", None),
        ("multi_worker", two),
        ("multi_worker", one),
        ("none", one),
    ):
        check_distribution(kind, cluster)
    with pytest.raises(ParamsError, match="'multi_worker' needs the environment variable TF_CONFIG"):
        check_distribution("multi_worker", None)
    with pytest.raises(ParamsError, match="TF_CONFIG lists 2 workers, and train.distribute is 'none'"):
        check_distribution("none", two)


def local_clusters(count):
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in (first, second)][:count]
    return [read_cluster(config({"worker": addresses}, index=index)) for index in range(count)]


def test_workers_go_on_when_all_are_there():
    clusters, all_met = local_clusters(2), threading.Barrier(3, timeout=300)

    def meet(cluster):
        wait_for_workers(cluster, 300)
        # As TensorFlow does: the others may look only now.
        with socket.create_server(("127.0.0.1", int(cluster.addresses[cluster.index].rpartition(":")[2]))):
            all_met.wait()

    for cluster in clusters:
        threading.Thread(target=meet, args=(cluster,), daemon=True).start()
    all_met.wait()


def test_a_worker_that_does_not_come_is_named():
    first, second = local_clusters(2)
    with pytest.raises(WorkerLost, match=f"Worker 0 waited 0 s for {second.addresses[1]}, expected one at"):
        wait_for_workers(first, 0.3)


def test_a_port_that_is_taken_is_named():
    (cluster,) = local_clusters(1)
    port = int(cluster.addresses[0].rpartition(":")[2])
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ParamsError, match=f"port {port}, expected a free one"),
    ):
        wait_for_workers(cluster, 1)


def worker(program):
    """A program that knows its `index` and how many `lives` have begun, each worker for itself."""
    head = (
        "import json, os, pathlib, signal, sys, time\n"
        "index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
        "lives = pathlib.Path(sys.argv[1], f'lives{index}')\n"
        "lives.write_text((lives.read_text() if lives.exists() else '') + '.')\n"
        "lives = len(lives.read_text())\n"
    )
    return head + program


def supervise(program, folder, restarts=2):
    return supervise_workers([sys.executable, "-c", worker(program), str(folder)], 2, restarts, folder)


def lives(folder):
    return [len((folder / f"lives{index}").read_text()) for index in range(2)]


def test_all_workers_are_started_again_when_one_is_killed(tmp_path, capfd):
    program = (
        "if index == 1 and lives == 1: os.kill(os.getpid(), signal.SIGKILL)\n"
        "if lives == 1: time.sleep(0.5); sys.exit(75)\n"
    )
    assert supervise(program, tmp_path) == 0
    assert lives(tmp_path) == [2, 2]
    assert "was killed by SIGKILL. Starting all workers again (1 of 2 times)." in capfd.readouterr().out


def test_starting_again_has_an_end(tmp_path, capfd):
    assert supervise("sys.exit(75)", tmp_path, restarts=1) == WorkerLost.status
    assert lives(tmp_path) == [2, 2]
    assert "The workers lost each other. Not started again" in capfd.readouterr().out


def test_workers_that_cannot_do_their_work_are_not_started_again(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(distribution_loopback, "NOTICE_SECONDS", 2.0)
    program = "if index == 1: sys.exit('The rows are missing.')\nwhile True: time.sleep(1)"
    assert supervise(program, tmp_path) == 1
    assert lives(tmp_path) == [1, 1]
    assert "The rows are missing." in capfd.readouterr().out


def test_the_chief_decides_whether_it_ended_well(tmp_path):
    assert supervise("sys.exit(75 if index else 0)", tmp_path) == 0

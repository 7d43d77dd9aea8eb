"""What it costs to turn JSON bodies into arrays, and arrays into JSON: Kiln's codecs beside the usual ways.

    python -m benchmarks.codecs

All ways take turns, so that a slow moment of the machine is in the figures of each; the medians are printed.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import orjson

from service.codecs.json.answers import encode_predictions
from service.codecs.json.requests import PredictRequest
from service.engine.signature import Signature, TensorSpec

IMAGE = Signature({"image": TensorSpec("image", "DT_FLOAT", (-1, 28, 28))}, {})
FEATURES = Signature({"features": TensorSpec("features", "DT_FLOAT", (-1, 10))}, {})
NAMES = [f"feature_{index}" for index in range(30)]
NAMED = Signature({name: TensorSpec(name, "DT_FLOAT", (-1,)) for name in NAMES}, {})

Ways = dict[str, Callable[[], object]]


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(description="Measures the JSON codecs; prints microseconds per body.")
    parser.add_argument("--rounds", type=int, default=41, help="how often every way has its turn (default 41)")
    parser.add_argument("--milliseconds", type=int, default=5, help="how long a turn takes at least (default 5)")
    arguments = parser.parse_args()
    print(f"{'body':<40}{'kB':>7}{'Kiln':>9}{'orjson':>9}{'json':>9}   orjson/Kiln  json/Kiln")
    for title, size, ways in scenarios():
        kiln, quick, usual = measure(ways, arguments.rounds, arguments.milliseconds / 1000).values()
        figures = f"{size / 1000:7.1f}{kiln:9.1f}{quick:9.1f}{usual:9.1f}"
        print(f"{title:<40}{figures}{quick / kiln:14.1f}{usual / kiln:11.1f}")


def scenarios() -> Iterator[tuple[str, int, Ways]]:
    """Bodies and answers: a title, the bytes, and the three ways with them."""
    generator = np.random.default_rng(20)
    pixels = generator.integers(0, 256, (32, 28, 28)) * (generator.random((32, 28, 28)) < 0.3)
    scaled = (pixels / 255).round(4)
    dense = generator.random((32, 28, 28), np.float32).astype(float)
    table = generator.normal(size=(100, 10)).round(3)
    named = [dict(zip(NAMES, row, strict=True)) for row in generator.normal(size=(32, 30)).round(3).tolist()]
    rows = {
        "1 image of whole numbers": (pixels[:1], IMAGE),
        "1 image of decimals": (scaled[:1], IMAGE),
        "32 images of whole numbers": (pixels, IMAGE),
        "32 images of decimals": (scaled, IMAGE),
        "32 images of float32 in full": (dense, IMAGE),
        "1 row of 10 numbers": (table[:1], FEATURES),
        "100 rows of 10 numbers": (table, FEATURES),
    }
    for title, (values, signature) in rows.items():
        body = json.dumps({"instances": values.tolist()}).encode()
        yield title, len(body), ways_to_decode(body, signature, lambda value: value)
        named_body = json.dumps({"note": True, "instances": values.tolist()}).encode()
        if title == "32 images of decimals":
            yield f"{title}, and `true`", len(body), ways_to_decode(named_body, signature, lambda value: value)
    for count in (1, 32):
        body = json.dumps({"instances": named[:count]}).encode()
        yield (
            f"{count} rows of 30 named numbers",
            len(body),
            ways_to_decode(body, NAMED, lambda value: [[row[name] for row in value] for name in NAMES]),
        )
    for shape in ((1, 10), (32, 10)):
        answer = {"probabilities": generator.random(shape, np.float32)}
        yield f"answer of {shape[0]} x {shape[1]}", len(encode_predictions(answer)), ways_to_encode(answer)


def ways_to_decode(body: bytes, signature: Signature, arrange: Callable[[list], list]) -> Ways:
    """Three ways from a body to float32 arrays; `arrange` makes columns of rows."""

    def kiln() -> None:
        PredictRequest(body, len(body)).decode(signature)

    return {
        "kiln": kiln,
        "orjson": lambda: np.array(arrange(orjson.loads(body)["instances"]), np.float32),
        "json": lambda: np.array(arrange(json.loads(body)["instances"]), np.float32),
    }


def ways_to_encode(outputs: dict[str, np.ndarray]) -> Ways:
    """Three ways from an array to an answer."""
    [array] = outputs.values()
    return {
        "kiln": lambda: encode_predictions(outputs),
        "orjson": lambda: orjson.dumps({"predictions": array.tolist()}),
        "json": lambda: json.dumps({"predictions": array.tolist()}).encode(),
    }


def measure(ways: Ways, rounds: int, seconds: float) -> dict[str, float]:
    """Median microseconds of one call of each."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    calls = {name: max(1, int(seconds / run(way, 1))) for name, way in ways.items()}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(run(way, calls[name]) / calls[name])
    return {name: statistics.median(series) * 1e6 for name, series in times.items()}


def run(way: Callable[[], object], calls: int) -> float:
    """Seconds that so many calls take."""
    started = time.perf_counter()
    for _ in range(calls):
        way()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

"""Tasks on dask: what workers die of, boards that time one file at a time, a scheduler that comes back."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError
from edgeconv.sweep.engine import Task, resource
from edgeconv.sweep.fetching import fetched
from edgeconv.sweep.inputs import Inputs
from edgeconv.sweep.store import Store
from edgeconv.system import without_interrupts

dask = pytest.importorskip("dask", reason="needs edgeconv[sweep]")
distributed = pytest.importorskip("distributed", reason="needs edgeconv[sweep]")

pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
"""dask's own sockets, which its threads close when they come to it."""

from edgeconv.sweep import cluster, worker  # noqa: E402 - they need distributed
from edgeconv.sweep.cluster import Cluster  # noqa: E402


@pytest.fixture
def scheduler() -> Iterator[Any]:
    """A cluster in this process: two workers of one thread, of which the first has the board pi5."""
    dask.config.set({"distributed.comm.timeouts.connect": "120s"})  # on a busy machine
    made = distributed.SpecCluster(
        workers={
            index: {
                "cls": distributed.Worker,
                "options": {"nthreads": 1, "host": "127.0.0.1", "resources": resources},
            }
            for index, resources in enumerate(({"board:pi5": 1}, {}))
        },
        scheduler={
            "cls": distributed.Scheduler,
            "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"},
        },
        silence_logs=50,
    )
    yield made
    made.close()


def benches(count: int) -> list[Task]:
    board = "ssh://pi@pi5"
    return [Task("bench", {"board": board, "number": n}) for n in range(count)]


def test_a_board_times_one_file_at_a_time_beside_the_other_work(
    scheduler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: dict[str, int] = {"bench": 0, "export": 0}
    most = dict(running)
    where: dict[str, set[str]] = {"bench": set(), "export": set()}
    lock = threading.Lock()

    def perform(kind: str, spec: Any, _places: Any, _folder: Path) -> dict[str, Any]:
        with lock:
            running[kind] += 1
            most[kind] = max(most[kind], running[kind])
            where[kind].add(distributed.get_worker().address)
        time.sleep(0.02)
        with lock:
            running[kind] -= 1
        return {"number": spec["number"]}

    monkeypatch.setattr(worker, "perform", perform)
    engine = Cluster(
        Store(tmp_path), Inputs(), address=scheduler.scheduler_address, boards=("ssh://pi@pi5",)
    )
    tasks = [*benches(4), *(Task("export", {"number": n}) for n in range(8))]
    for task in tasks:
        engine.submit(task)
    done = {outcome.task.key: outcome.result for outcome in engine.outcomes()}
    engine.close()
    assert [done[task.key] for task in tasks] == [{"number": task.spec["number"]} for task in tasks]
    assert most["bench"] == 1
    assert len(where["bench"]) == 1
    assert len(where["export"]) == 2


def test_a_board_that_no_worker_or_two_workers_offer_is_refused(
    scheduler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "JOIN_S", 0.5)
    words = r"no workers of tcp://.* offer board:pi4: start one.*--resources 'board:pi4=1'"
    with pytest.raises(EdgeconvError, match=words):
        Cluster(
            Store(tmp_path), Inputs(), address=scheduler.scheduler_address, boards=("ssh://pi4",)
        )
    with pytest.raises(EdgeconvError, match=r"no scheduler answers at tcp://127.0.0.1:1"):
        cluster_at("tcp://127.0.0.1:1", tmp_path)
    with pytest.raises(EdgeconvError, match=r"tls://127.0.0.1:1 wants certificates"):
        cluster_at("tls://127.0.0.1:1", tmp_path)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError("in <TCP (closed)  local=tcp://127.0.0.1:5>: ConnectionResetError"), "closes the connection: it is no scheduler of dask, or"),
        (RuntimeError("encryption required by Dask configuration"), "and tcp://127.0.0.1:1 has none: write tls://HOST:PORT"),
    ],
)  # fmt: skip
def test_an_address_without_tls_where_it_is_wanted_is_one_sentence(
    error: Exception, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What dask raises where one side alone speaks it."""

    def refused(_: Cluster) -> None:
        raise error

    monkeypatch.setattr(Cluster, "_connect", refused)
    with pytest.raises(EdgeconvError, match=says):
        cluster_at("tcp://127.0.0.1:1", tmp_path)


def test_a_process_that_dies_while_it_starts_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def died(self: Any, *_: Any) -> None:
        raise OSError("killed")

    monkeypatch.setattr(distributed.Nanny, "instantiate", died)
    with pytest.raises(EdgeconvError, match="a process of --workers died while it started"):
        Cluster(Store(tmp_path / "cells"), Inputs(), workers=1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are copies on Linux alone")
def test_workers_are_copies_of_one_process_that_has_imported_what_they_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Importing it in each takes most of what starting a worker takes; they see today's environment all the same."""
    monkeypatch.setenv("EDGECONV_TOLD", "late")
    engine = Cluster(Store(tmp_path / "cells"), Inputs(), workers=2)

    def look() -> tuple[int, int, str | None, str | None]:
        found = os.environ.get("EDGECONV_TOLD"), os.environ.get("OMP_NUM_THREADS")
        return os.getpid(), os.getppid(), *found

    asked = engine._client.run(look).values()
    engine.close()
    workers, parents, told, threads = (set(values) for values in zip(*asked, strict=True))
    assert len(workers) == 2
    assert len(parents) == 1
    assert os.getpid() not in parents
    assert (told, threads) == ({"late"}, {"1"})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no masks of signals")
def test_workers_hear_no_ctrl_c() -> None:
    heard: list[bool] = []

    def ask() -> None:
        heard.append(signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, []))

    with without_interrupts():
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    ask()
    assert heard == [False, True]


def test_what_dask_writes_goes_with_the_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one takes too long to end, which is killed, and where the cluster is not joined."""
    places: list[Path] = []
    offered: list[list[dict[str, int]]] = []
    late = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    class Local:
        workers: ClassVar = {0: SimpleNamespace(pid=late.pid), 1: SimpleNamespace(pid=None)}

        def __init__(self, workers: dict[int, Any], **_: object) -> None:
            places.append(Path(dask.config.get("temporary-directory")))
            offered.append([told["options"]["resources"] for told in workers.values()])

        def close(self, timeout: float) -> None:
            assert places[-1].is_dir()
            if len(places) == 2:
                raise TimeoutError

    def refuse(self: Cluster) -> None:
        raise OSError("no")

    monkeypatch.setattr(distributed, "SpecCluster", Local)
    monkeypatch.setattr(Cluster, "_connect", lambda self: setattr(self, "_client", self._local))
    Cluster(Store(tmp_path), Inputs(), workers=1).close()
    assert late.poll() is None
    boards = ("ssh://pi@pi5", "ssh://root@pi5:2222", "ssh://pi4")
    Cluster(Store(tmp_path), Inputs(), workers=2, boards=boards).close()
    assert offered[-1] == [{"board:pi5": 1}, {"board:pi4": 1}]  # two ways to one board are one
    assert late.wait() == -signal.SIGKILL
    monkeypatch.setattr(Cluster, "_connect", refuse)
    with pytest.raises(EdgeconvError, match="no scheduler answers"):
        Cluster(Store(tmp_path), Inputs(), workers=1)
    assert not any(place.exists() for place in places)
    assert len(places) == 3


def cluster_at(address: str, folder: Path) -> Cluster:
    return Cluster(Store(folder), Inputs(), address=address)


def test_a_bench_is_never_started_twice_and_a_conversion_at_most_four_times(
    scheduler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    class KilledWorker(Exception):  # noqa: N818 - dask's own name
        pass

    def perform(kind: str, _spec: Any, _places: Any, _folder: Path) -> dict[str, Any]:
        started.append(kind)
        raise KilledWorker

    monkeypatch.setattr(worker, "perform", perform)
    engine = Cluster(Store(tmp_path), Inputs(), address=scheduler.scheduler_address)
    for task in (*benches(1), Task("export", {})):
        engine.submit(task)
    said = {outcome.task.kind: outcome.error for outcome in engine.outcomes()}
    assert sorted(started) == ["bench", *["export"] * cluster.ATTEMPTS]
    assert "run the same sweep again" in str(said["bench"])
    assert "4 workers died of it" in str(said["export"])
    monkeypatch.setattr(worker, "perform", lambda *_: {"fine": True})
    client = engine._client
    again = [
        client.submit(worker.once, "name", "bench", {}, {}, pure=False, key=key).result()
        for key in ("first", "second")
    ]
    assert again[0][0] == {"fine": True}
    assert "its worker died while the board was timing it" in again[1][0]["error"]
    engine.close()


def test_what_a_dying_worker_did_not_take_is_sent_again(
    scheduler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "perform", lambda *_: {"fine": True})
    monkeypatch.setattr(worker, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(cluster, "PAUSE_S", 0.01)
    (tmp_path / "m.onnx").write_bytes(b"model")
    inputs = Inputs()
    task = Task("export", {"net": inputs.add(tmp_path / "m.onnx")})
    engine = Cluster(Store(tmp_path / "cells"), inputs, address=scheduler.scheduler_address)
    scatter, tries = engine._client.scatter, iter(range(9))

    def once_broken(*given: Any, **more: Any) -> Any:
        if next(tries) < 2:
            raise OSError("Stream is closed")
        return scatter(*given, **more)

    engine._client.scatter = once_broken
    engine.submit(task)
    assert [outcome.result for outcome in engine.outcomes()] == [{"fine": True}]
    engine.close()


def test_a_scheduler_that_does_not_answer_is_sent_nothing(scheduler: Any, tmp_path: Path) -> None:
    """Dask goes on saying who it was, and ends with an error of its own in what is sent meanwhile."""
    engine = Cluster(Store(tmp_path), Inputs(), address=scheduler.scheduler_address)
    engine._client.status = "connecting"
    same = engine._same_scheduler()
    engine.submit(Task("export", {"number": 1}))
    sent, engine._client.status = len(engine._open), "running"
    engine.close()
    assert (same, sent, len(engine._late)) == (False, 0, 1)


def test_a_result_that_cannot_be_kept_fails_its_cell_and_no_other(
    scheduler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for one file takes the smaller ones that follow."""
    monkeypatch.setattr(worker, "perform", lambda _kind, spec, *_: dict(spec))
    put = Store.put

    def full(self: Store, key: str, result: Any, files: Any) -> None:
        if result["number"] == 1:
            raise EdgeconvError("cannot write it: No space left on device")
        put(self, key, result, files)

    monkeypatch.setattr(Store, "put", full)
    engine = Cluster(Store(tmp_path), Inputs(), address=scheduler.scheduler_address)
    for number in range(3):
        engine.submit(Task("export", {"number": number}))
    said = {outcome.task.spec["number"]: outcome.error for outcome in engine.outcomes()}
    engine.close()
    assert said == {0: None, 1: "cannot write it: No space left on device", 2: None}


def test_a_scheduler_that_goes_is_waited_for_aloud(
    scheduler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    address = scheduler.scheduler_address
    engine = Cluster(Store(tmp_path), Inputs(), address=address, tell=told.append)
    gone = (
        f"the scheduler at {address} is gone: waiting 60 s for one that is started there, "
        "and its workers; what is done is kept"
    )
    engine._start_over()
    assert told == [gone, f"a scheduler answers at {address} again: going on"]

    def refused(*_: Any) -> None:
        raise OSError("nobody answers")

    monkeypatch.setattr(engine, "_connect", refused)
    monkeypatch.setattr(cluster, "GONE_S", 0.0)
    with pytest.raises(EdgeconvError, match="the scheduler is gone; what is done is kept"):
        engine._start_over()
    assert told[2:] == [gone.replace("60 s", "0 s")]


def test_a_cluster_without_a_worker_is_waited_for_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing runs on it, and the progress line says so too."""
    monkeypatch.setattr(cluster, "LOOK_S", 0.1)
    monkeypatch.setattr(worker, "perform", lambda *_: {"fine": True})
    open_worker = {
        "cls": distributed.Worker,
        "options": {"nthreads": 1, "host": "127.0.0.1"},
    }
    own = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    made = distributed.SpecCluster(
        worker=open_worker,
        scheduler={"cls": distributed.Scheduler, "options": own},
        silence_logs=50,
    )
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        assert engine.running() == 0
        made.scale(1)

    address = made.scheduler_address
    engine = Cluster(Store(tmp_path), Inputs(), address=address, tell=tell)
    for number in range(3):
        engine.submit(Task("export", {"number": number}))
    done = [outcome.result for outcome in engine.outcomes()]
    engine.close()
    made.close()
    assert done == 3 * [{"fine": True}]
    assert told == [f"{address} has no worker: waiting for one, dask worker {address} --nthreads 1"]


def test_a_result_whose_scheduler_dies_before_it_is_fetched_is_lost() -> None:
    """dask says cancelled as soon as it is asked for, in either of two forms."""

    class Gone:
        status = "finished"

        def result(self) -> None:
            raise distributed.client.FutureCancelledError("evaluate-1", None)

    class GoneWithItsError(Gone):
        status = "error"

        def exception(self) -> None:
            raise TimeoutError

    for future in (Gone(), GoneWithItsError()):
        _, lost, result = fetched(future)
        assert (lost, result) == (True, None)


def test_a_resource_is_called_by_the_host() -> None:
    assert resource("ssh://pi5") == resource("ssh://me@pi5:22") == "board:pi5"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    from PIL import Image

    generator = np.random.default_rng(0)
    for name in ("bag", "coat"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(6):
            pixels = generator.integers(0, 256, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


def words(photos: Path, output: Path) -> list[str]:
    text = "sweep mobilenet_v1 shufflenet_v1 --width 0.25,0.5 --resolution 32,40 --weights random --classes 2"
    text += (
        f" --recipe fast --no-bench -q --json --data {photos} --calib {photos} --output {output}"
    )
    return text.split()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start_dask(*more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *more],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[bytes], how: int) -> None:
    os.killpg(process.pid, how)
    process.wait(30)


def test_a_scheduler_that_goes_leaves_no_traceback_of_dask(scheduler: Any, tmp_path: Path) -> None:
    logging.getLogger("distributed.client").setLevel(
        logging.WARNING
    )  # as dask's configuration does
    Cluster(Store(tmp_path), Inputs(), address=scheduler.scheduler_address).close()
    assert not logging.getLogger("distributed.client").isEnabledFor(logging.ERROR)


@pytest.mark.long
def test_killed_workers_and_a_new_scheduler_change_no_byte(photos: Path, tmp_path: Path) -> None:
    alone = CliRunner().invoke(main, words(photos, tmp_path / "alone"))
    assert alone.exit_code in (0, 3), alone.output
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    open_scheduler = ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    open_worker = ("worker", address, "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard")
    parts = [start_dask(*open_scheduler), start_dask(*open_worker), start_dask(*open_worker)]
    time.sleep(8)
    script = [sys.executable, "-m", "edgeconv", *words(photos, tmp_path / "shared")]
    sweep = subprocess.Popen([*script, "--scheduler", address], stdout=subprocess.PIPE)
    generator = np.random.default_rng(0)
    for turn in range(6):
        time.sleep(float(generator.uniform(4, 10)))
        if sweep.poll() is not None:
            break
        if turn == 2:  # the scheduler, and with it its workers
            for part in parts:
                ended(part, signal.SIGKILL)
            parts = [
                start_dask(*open_scheduler),
                start_dask(*open_worker),
                start_dask(*open_worker),
            ]
        else:
            place = 1 + int(generator.integers(2))
            ended(parts[place], signal.SIGKILL)
            parts[place] = start_dask(*open_worker)
    out, _ = sweep.communicate(timeout=900)
    for part in parts:
        ended(part, signal.SIGTERM)
    assert sweep.returncode == alone.exit_code
    assert json.loads(out)["cells"] == json.loads(alone.stdout)["cells"]

"""The supervisor, with fake services as real processes."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fake_service
import pytest
import supervise_fakes

from voxbus.local.errors import CommandError, ProcessFailedError
from voxbus.local.ports import PortPlan
from voxbus.local.process import Preparation, ProcessSpec
from voxbus.local.supervisor import State, Supervised, Supervisor

pytestmark = pytest.mark.unit


class RecordingObserver:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, State, str]] = []
        self.pids: list[tuple[State, int | None]] = []
        self.prepared_names: list[str] = []

    def changed(self, member: Supervised, detail: str) -> None:
        self.changes.append((member.spec.name, member.state, detail))
        self.pids.append((member.state, member.process.pid))

    def preparing(self, preparation: Preparation, log_file: Path) -> None:
        assert log_file.exists()

    def prepared(self, preparation: Preparation, seconds: float) -> None:
        assert seconds >= 0
        self.prepared_names.append(preparation.name)


class Bench:
    """Builds specs of fake services and reads their diary."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.diary = directory / "diary"
        self.observer = RecordingObserver()
        self.ports = PortPlan()

    def spec(self, name: str, *options: str, rank: int = 1, **more: Any) -> ProcessSpec:
        port = self.ports.take_free()
        url = f"http://127.0.0.1:{port}"
        return ProcessSpec(
            name=name, service="fake", rank=rank, command=fake_service.command(name, port, self.diary, *options),
            ready_url=f"{url}/ready", health_url=f"{url}/health", ports={"http": port}, **more,
        )  # fmt: skip

    @asynccontextmanager
    async def supervise(self, *specs: ProcessSpec) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor(specs, self.directory, self.observer, backoff_s=(0.05, 0.1))
        try:
            yield supervisor
        finally:
            await supervisor.stop()

    def notes(self) -> list[str]:
        return self.diary.read_text().splitlines() if self.diary.exists() else []

    def pids(self) -> list[int]:
        return [int(note.split()[2]) for note in self.notes() if note.split()[1] in ("started", "child")]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    with bench.ports:
        yield bench


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_higher_ranks_start_after_lower_ones_are_ready(bench: Bench) -> None:
    """A service starts only when the servers below it have answered that they are ready."""
    server, service = bench.spec("server", "--ready-after", "0.3", rank=0), bench.spec("service")
    async with bench.supervise(service, server) as supervisor:
        await supervisor.start()
        order = [" ".join(note.split()[:2]) for note in bench.notes()]
        assert order.index("server ready") < order.index("service started")
        assert [member.state for member in supervisor.members] == [State.READY, State.READY]
        assert supervisor.members[0].ready_s is not None
        assert supervisor.members[0].ready_s >= 0.3


async def test_stop_is_the_start_in_reverse_and_leaves_no_process(bench: Bench) -> None:
    """Services get their SIGTERM before the servers they need, and nothing is left."""
    async with bench.supervise(bench.spec("server", rank=0), bench.spec("service")) as supervisor:
        await supervisor.start()
    stopped = [note for note in bench.notes() if note.endswith("stopped")]
    assert stopped == ["service stopped", "server stopped"]
    assert not [pid for pid in bench.pids() if alive(pid)]


async def test_death_at_the_start_shows_the_end_of_the_log_and_a_hint(bench: Bench) -> None:
    """A process that dies while starting fails the start at once, with its words, and the others are stopped."""
    async with bench.supervise(bench.spec("good"), bench.spec("bad", "--die", "7", hint="feed it")) as supervisor:
        with pytest.raises(ProcessFailedError, match=r"bad died while starting \(exit code 7\)") as failure:
            await supervisor.start()
    assert failure.value.hint == "feed it"
    assert failure.value.tail == ("about to exit with 7",)
    assert not [pid for pid in bench.pids() if alive(pid)]


async def test_a_process_that_never_gets_ready_fails_the_start(bench: Bench) -> None:
    """The start does not wait for ever; /ready decides, not /health."""
    async with bench.supervise(bench.spec("slow", "--never-ready", start_timeout_s=0.5)) as supervisor:
        with pytest.raises(ProcessFailedError, match=r"slow was not ready after 0\.5 s"):
            await supervisor.start()


async def test_a_strangers_answer_is_not_readiness(bench: Bench) -> None:
    """Another process that answers on the port does not make this one ready: the answer must carry its id."""
    stranger = bench.spec("stranger", "--identity", "somebody")
    deaf = bench.spec("deaf", "--identity", "somebody", identifies=True, start_timeout_s=0.5)
    honest = bench.spec("honest", identifies=True)
    async with bench.supervise(stranger, honest) as supervisor:
        await supervisor.start()
    async with bench.supervise(deaf) as supervisor:
        with pytest.raises(ProcessFailedError, match="deaf was not ready"):
            await supervisor.start()


async def test_a_process_that_dies_later_is_started_again(bench: Bench) -> None:
    """A killed service comes back under another pid, and what happened is told."""
    async with bench.supervise(bench.spec("service")) as supervisor:
        await supervisor.start()
        member = supervisor.members[0]
        first = member.process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: member.restarts == 1 and member.state is State.READY)
        assert member.process.pid not in (first, None)
        told = [detail for _name, state, detail in bench.observer.changes if state is State.RESTARTING]
        assert told == ["ended (SIGKILL), starting it again in 0.05 s"]


async def test_a_restarted_process_is_known_before_it_is_ready(bench: Bench) -> None:
    """Its new pid is told while it starts: what it waits for may be away for long."""
    pids = bench.observer.pids
    async with bench.supervise(bench.spec("service")) as supervisor:
        member = supervisor.members[0]
        await supervisor.start()
        first = member.process.pid
        assert pids == [(State.STARTING, first), (State.READY, first)]
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: member.restarts == 1 and member.state is State.READY)
        assert pids[2:] == [
            (State.RESTARTING, None),
            (State.STARTING, member.process.pid),
            (State.READY, member.process.pid),
        ]


async def test_restarts_wait_longer_each_time(bench: Bench) -> None:
    """A service that dies again and again is started less and less often."""
    async with bench.supervise(bench.spec("service")) as supervisor:
        await supervisor.start()
        member = supervisor.members[0]
        for restarts in (1, 2):
            assert member.process.pid is not None
            os.kill(member.process.pid, signal.SIGKILL)
            await until(lambda wanted=restarts: member.restarts == wanted and member.state is State.READY)  # type: ignore[misc]
        pauses = [detail.rsplit(" in ")[1] for _, state, detail in bench.observer.changes if state is State.RESTARTING]
        assert pauses == ["0.05 s", "0.1 s"]


async def test_a_deaf_process_and_its_children_are_killed(bench: Bench) -> None:
    """Who ignores SIGTERM gets SIGKILL after the grace period, and so do the processes it started."""
    async with bench.supervise(bench.spec("deaf", "--deaf", "--child", stop_grace_s=0.2)) as supervisor:
        await supervisor.start()
    assert len(bench.pids()) == 2
    await until(lambda: not [pid for pid in bench.pids() if alive(pid)])
    assert ("deaf", State.STOPPED, "killed: it did not end within 0.2 s") in bench.observer.changes


async def test_kill_spares_the_grace_period(bench: Bench) -> None:
    """In a hurry nothing is waited for."""
    async with bench.supervise(bench.spec("deaf", "--deaf", stop_grace_s=60)) as supervisor:
        await supervisor.start()
        began = time.monotonic()
        supervisor.kill()
    assert time.monotonic() - began < 5


async def test_a_preparation_runs_once_before_those_that_need_it(bench: Bench) -> None:
    """Two workers that need the same preparation wait for one run of it."""
    script = f"open({str(bench.diary)!r}, 'a').write('weights prepared\\n')"
    preparation = Preparation("weights", "preparing", (sys.executable, "-c", script), {})
    workers = [bench.spec(f"worker-{number}", preparation=preparation) for number in (1, 2)]
    async with bench.supervise(*workers) as supervisor:
        await supervisor.start()
    notes = bench.notes()
    assert notes[0] == "weights prepared"
    assert notes.count("weights prepared") == 1
    assert bench.observer.prepared_names == ["weights"]


async def test_a_failed_preparation_fails_the_start(bench: Bench) -> None:
    """The words of a preparation that failed reach the person, and its worker is never started."""
    command = (sys.executable, "-c", "print('the disk is full'); raise SystemExit(1)")
    spec = bench.spec("worker", preparation=Preparation("weights", "preparing the weights", command, {}))
    async with bench.supervise(spec) as supervisor:
        with pytest.raises(ProcessFailedError, match=r"preparing the weights failed \(exit code 1\)") as failure:
            await supervisor.start()
    assert failure.value.tail == ("the disk is full",)
    assert bench.notes() == []


async def test_what_is_no_gate_starts_first_and_holds_nobody_up(bench: Bench) -> None:
    """A slow server that only some need is started with the servers; the services do not wait for it, the whole start does."""
    slow = bench.spec("slow", "--ready-after", "0.6", rank=0, gate=False)
    async with bench.supervise(bench.spec("server", rank=0), slow, bench.spec("service", rank=1)) as supervisor:
        await supervisor.start()
    ready = [note.split()[0] for note in bench.notes() if note.endswith(" ready")]
    assert ready.index("service") < ready.index("slow")
    stopped = [note.split()[0] for note in bench.notes() if note.endswith(" stopped")]
    assert stopped[0] == "service"


async def test_what_is_done_when_ready_is_done_at_each_start_before_it_counts(bench: Bench) -> None:
    """The work runs before services that wait for the process start, and again after a restart."""
    states: list[State] = []

    async def work() -> None:
        states.append(next(member.state for member in supervisor.members if member.spec.name == "service"))

    server = bench.spec("server", rank=0, on_ready=work)
    async with bench.supervise(server, bench.spec("service", rank=1)) as supervisor:
        await supervisor.start()
        assert states == [State.WAITING]
        supervisor.members[0].process.kill()
        await until(lambda: len(states) == 2)


async def test_work_that_fails_when_ready_fails_the_start(bench: Bench) -> None:
    """Its words reach the person."""

    async def work() -> None:
        raise CommandError("the streams could not be applied")

    async with bench.supervise(bench.spec("server", on_ready=work)) as supervisor:
        with pytest.raises(ProcessFailedError, match="server started, but the streams could not be applied"):
            await supervisor.start()


async def test_readiness_of_some_can_be_waited_for(bench: Bench) -> None:
    """`until_ready` returns when the named services have been ready, whatever the others do."""
    async with bench.supervise(bench.spec("quick"), bench.spec("never", "--never-ready")) as supervisor:
        supervisor.members[1].spec = dataclasses.replace(supervisor.members[1].spec, service="other")
        starting = asyncio.create_task(supervisor.start())
        async with asyncio.timeout(20):
            await supervisor.until_ready("fake")
        assert not starting.done()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the death of a parent is signalled by Linux only")
async def test_killing_the_supervisor_leaves_no_orphan(bench: Bench) -> None:
    """Services die with a supervisor that is killed with SIGKILL, even those that ignore SIGTERM."""
    ports = [str(bench.ports.take_free()) for _ in range(2)]
    command = [sys.executable, supervise_fakes.__file__, str(bench.directory), str(bench.diary), *ports]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as supervisor:  # noqa: ASYNC220
        await until(lambda: "supervisor ready" in bench.notes())
        pids = [int(note.split()[2]) for note in bench.notes() if " started " in note]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        supervisor.kill()
        supervisor.wait()
        await until(lambda: not [pid for pid in pids if alive(pid)])

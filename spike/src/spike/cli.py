"""``spike-run``: run or describe a NEFF from the command line."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Literal

import spike
from neff import NeffError, read_neff
from neff.output_file import is_same_file
from neff.summary import describe
from spike._spike import Spike
from spike.array_files import file_of, load_array, save_array
from spike.command_line import run_command
from spike.joined_timeline import is_timeline, join_timelines
from spike.library import NUM_CORES, VISIBLE_CORES, report
from spike.rank_processes import failures, free_ports, run_processes, told_once

Mode = Literal["device", "host"]
_NAME = "spike-run"


def parse_visible_cores(text: str) -> list[int]:
    """Cores of "0-3,8-11". Raises ValueError for anything else."""
    cores: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if match is None:
            raise ValueError(f"not a list of cores: {text!r}")
        cores += range(int(match[1]), int(match[2] or match[1]) + 1)
    return cores


def validate_core_config(num_cores: int, option: str = "--num-cores") -> None:
    """Check that the environment lets this run use as many cores as an option asks for.

    Raises ValueError if it does not.
    """
    is_list = VISIBLE_CORES in os.environ
    name = VISIBLE_CORES if is_list else NUM_CORES
    text = os.environ.get(name, "0")
    allowed = len(parse_visible_cores(text)) if is_list else int(text) or num_cores
    if allowed < num_cores:
        raise ValueError(
            f"{option}={num_cores} conflicts with {name}={os.environ[name]}, which "
            f"gives {allowed}"
        )


def load_inputs_for_core(
    inputs: Sequence[str], rank: int, model: spike.SpikeModel
) -> dict[str, spike.SpikeTensor]:
    """Upload NAME=PATH files to the model's core, `{rank}` in a path replaced.

    A file whose dtype NumPy cannot name (bfloat16, fp8) has the model's. Raises
    ValueError for what is not an input of the model.
    """
    tensors, make = {}, spike.SpikeTensor.from_numpy
    for item in inputs:
        name, _, path = item.partition("=")
        if not (name and path):
            raise ValueError(f"--input takes NAME=PATH, got {item!r}")
        if name in tensors:
            raise ValueError(f"--input takes each name once, got {name!r} twice")
        if name not in model.input_tensors_info:
            raise ValueError(
                f"{name!r} is not an input: {', '.join(model.input_tensors_info)} are"
            )
        dtype = model.input_tensors_info[name].dtype
        array = load_array(path.replace("{rank}", str(rank)), dtype)
        tensors[name] = make(array, name, model.model_ref.core_id)
    return tensors


class _Run:
    """One rank of a run: its model, tensors and files."""

    def __init__(self, args: argparse.Namespace, rank: int, core: int) -> None:
        self.args = args
        several = args.num_cores > 1
        world = args.num_cores if several and args.collective else args.world_size
        directory = Path(args.output_dir.replace("{rank}", str(rank)))
        if several:
            directory /= f"core_{rank}"
        load = spike.SpikeModel.load_from_neff
        place = core, args.cc_enabled or args.collective
        ranks = rank if several else args.rank_id, world
        path = args.neff_path.replace("{rank}", str(rank))
        self.model = load(path, args.name, *place, *ranks)
        self.inputs = load_inputs_for_core(args.inputs, rank, self.model)
        self.other: spike.SpikeModel | None = None
        self.switch: tuple[Any, ...] = ()
        if args.switch is not None:
            path = args.switch.replace("{rank}", str(rank))
            self.other = load(path, None, *place, *ranks)
            given = load_inputs_for_core(args.switch_inputs, rank, self.other)
            self.switch = self.other, given or None
        self.files = {
            name: directory / file_of(name) for name in self.model.output_tensors_info
        }
        # Without {rank}, a name is that of the timeline of all ranks.
        is_own = not (several and args.collective) or _is_for_each(args.ntff_name)
        self.names_profile = bool(args.ntff_name) and is_own
        profile = str(directory / f"{self.model.neff_path.stem}.ntff")
        if self.names_profile:
            profile = args.ntff_name.replace("{rank}", str(rank))
        self.profile = profile

    def execute(self) -> list[str]:
        """Run, and say what came of it."""
        args, said = self.args, []
        if args.verbose:
            said += [f"Model: {self.model.name}", f"Inputs: {list(self.inputs)}"]
        if args.benchmark:
            # Ranks run together, and libnrt can trace only one core at a time.
            mode: Mode = "host" if args.num_cores > 1 else "device"
            result = self.model.benchmark(
                self.inputs, None, args.warmup, args.iterations, mode, *self.switch
            )
            said.append(f"Benchmark ({mode}): {result}")
            if self.other and result.switch:
                what = f"Switching with {self.other.name}"
                said.append(f"{what} (host, measured): {result.switch.host}")
                if result.switch.device:
                    said.append(f"{what} (device): {result.switch.device}")
        if args.save_trace and not self.names_profile:
            Path(self.profile).parent.mkdir(parents=True, exist_ok=True)
        outputs = self.model(self.inputs, None, args.save_trace, self.profile) or {}
        if args.save_trace:
            said += [f"Trace saved: {self.profile}", *_how_to_open(self.profile)]
        for name, tensor in outputs.items():
            said.append(save_array(self.files[name], tensor.numpy()))
        return said


def _how_to_open(profile: str) -> list[str]:
    """What to do with a profile that is JSON, as the emulator's is: it has a second
    name then, which says so. The vendor's tools open the others."""
    name = f"{profile}.json"
    if not (os.path.exists(name) and os.path.samefile(name, profile)):
        return []
    return [f"Timeline (estimated): open {name} at https://ui.perfetto.dev"]


def _is_for_each(name: str | None) -> bool:
    """Whether each rank has a file of its own by this name."""
    return name is not None and "{rank}" in name


def _joined_name(args: argparse.Namespace) -> str:
    """The file of all ranks' timeline: as `--ntff-name` says, if that is for all.
    Raises ValueError if it is taken by what nobody has asked to replace."""
    if args.ntff_name and not _is_for_each(args.ntff_name):
        return str(args.ntff_name)
    stem = Path(args.neff_path.replace("{rank}", "")).stem
    directory = Path(args.output_dir.replace("{rank}", ""))
    name = str(directory / f"{stem}.ranks.json")
    if os.path.lexists(name) and not is_timeline(name):
        raise ValueError(
            f"{name} is no timeline, and would be written over: --ntff-name is for "
            "another file"
        )
    return name


def _join(profiles: Sequence[str], name: str) -> list[str]:
    """Join what is the emulator's, and say so. The vendor's tools open the others."""
    if not all(map(is_timeline, profiles)):
        return []
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    join_timelines(profiles, name)
    said = f"Timeline of all ranks (estimated): open {name}"
    return [f"{said} at https://ui.perfetto.dev"]


def _load(
    args: argparse.Namespace, cores: dict[int, int], joined: Sequence[str] = ()
) -> list[_Run]:
    """What is to run, by rank; `joined` are files of all. Raises ValueError if two
    results, or a result and a NEFF, would be one file: one of them would be lost."""
    runs = [_Run(args, rank, core) for rank, core in cores.items()]
    models = [model for run in runs for model in (run.model, run.other) if model]
    taken = {os.path.realpath(model.neff_path) for model in models}
    results: list[str | Path] = []
    for run in runs:
        results += (*run.files.values(), *[run.profile] * args.save_trace)
    for file in (*results, *joined):
        if os.path.realpath(file) in taken:
            raise ValueError(f"{file} would be written over what else is this file")
        taken.add(os.path.realpath(file))
    return runs


def run_single_core(args: argparse.Namespace) -> list[str]:
    """Run on one core; outputs go to `<output-dir>/<name>.npy`."""
    (run,) = _load(args, {args.rank_id: args.core_id})
    return run.execute()


def _execute(numbered: tuple[int, _Run]) -> list[str]:
    core, run = numbered
    try:
        return [f"Core {core}: {line}" for line in run.execute()]
    except Exception as error:
        raise RuntimeError(f"Core {core} failed: {error}") from error


def run_multi_core(args: argparse.Namespace) -> list[str]:
    """Run on several cores at once, a thread each; outputs go to
    `<output-dir>/core_<i>/<name>.npy`. Raises RuntimeError that names the first core
    that failed."""
    if VISIBLE_CORES in os.environ or NUM_CORES in os.environ:
        validate_core_config(args.num_cores)
    else:
        spike.configure(range(args.num_cores))
    joined = [_joined_name(args)] if args.save_trace and args.collective else []
    runs = _load(args, {core: core for core in range(args.num_cores)}, joined)
    with ThreadPool(args.num_cores) as pool:  # whose end waits for no core
        said = list(pool.imap(_execute, enumerate(runs)))
    said += [_join([run.profile for run in runs], name) for name in joined]
    return [line for lines in said for line in lines]


_ROOT = "NEURON_RT_ROOT_COMM_ID"
#: What a process of :func:`run_as_ranks` executes.
_AGAIN = "import sys; from spike.cli import console_main; sys.exit(console_main())"


def run_as_ranks(args: argparse.Namespace, argv: Sequence[str]) -> list[str]:
    """Run as ranks of one collective, a process with a core each; outputs go to
    `<output-dir>/rank_<i>/<name>.npy`. Raises RuntimeError that says what the ranks
    that failed have said."""
    count = args.processes
    cores: Sequence[int] = range(count)
    if VISIBLE_CORES in os.environ:
        validate_core_config(count, "--processes")
        cores = parse_visible_cores(os.environ[VISIBLE_CORES])
    elif NUM_CORES not in os.environ:
        _check_there_are(count)
    own = {name: os.environ[name] for name in os.environ if name != NUM_CORES}
    own.setdefault(_ROOT, f"127.0.0.1:{free_ports(1)[0]}")
    name = _joined_name(args) if args.save_trace else ""
    for rank in map(str, range(count)):
        if is_same_file(Path(name), Path(args.neff_path.replace("{rank}", rank))):
            raise ValueError(f"{name} would be written over the NEFF")
    commands, profiles = [], []
    for rank in map(str, range(count)):
        output = os.path.join(args.output_dir, f"rank_{rank}")
        chosen = ["--processes", "1", "--cc-enabled", "--rank-id", rank]
        chosen += ["--world-size", str(count), "--output-dir", output]
        own_name = args.ntff_name if _is_for_each(args.ntff_name) else ""
        stem = Path(args.neff_path.replace("{rank}", rank)).stem
        profile = own_name or os.path.join(output, f"{stem}.ntff")
        profiles.append(profile.replace("{rank}", rank))
        chosen += ["--ntff-name", own_name]
        commands.append([sys.executable, "-c", _AGAIN, *argv, *chosen])
    environments = [{**own, VISIBLE_CORES: str(core)} for core in cores[:count]]
    results = run_processes(commands, environments)
    if failed := failures(results):
        said = "\n".join(told_once(failed))
        raise RuntimeError(said.replace(f"{_NAME}: error: ", ""))
    lines = [(r.rank, line) for r in results for line in r.output.splitlines()]
    joined = _join(profiles, name) if name else []
    return [*(f"Rank {rank}: {line}" for rank, line in lines), *joined]


def _check_there_are(count: int) -> None:
    """Raises ValueError if this machine has fewer cores than `count` processes take."""
    there = Spike.get_visible_neuron_core_count()
    if there < count:
        raise ValueError(
            f"--processes={count} takes a core for each, and this machine has {there}: "
            f"ask for {there} or fewer"
        )


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {count}")
    return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        _NAME,
        description="Run a NEFF on NeuronCores, or describe it. Inputs are .npy files, "
        "and so become the outputs.",
    )
    add = parser.add_argument
    add("neff_path", nargs="?", help="the NEFF; {rank} is replaced per core")
    npy = "a .npy file for an input; {rank} is replaced per core"
    inputs: dict[str, Any] = {"dest": "inputs", "metavar": "NAME=PATH", "help": npy}
    add("-i", "--input", action="append", default=[], **inputs)
    add("-o", "--output-dir", default=".", help="where outputs go (default: here)")
    add("-v", "--verbose", action="store_true", help="say more")
    add("--save-trace", action="store_true", help="write a profile")
    add("--ntff-name", help="the profile's file; {rank} is replaced per core")
    add("--benchmark", action="store_true", help="time executions first")
    add("--warmup", type=int, default=5, help="untimed executions (default: 5)")
    other = "also time alternating with this NEFF; {rank} is replaced per core"
    add("--switch", metavar="NEFF", help=other)
    inputs = {"dest": "switch_inputs", "metavar": "NAME=PATH"}
    zeros = "a .npy file for an input of that NEFF (default: all are zeros)"
    add("--switch-input", action="append", default=[], help=zeros, **inputs)
    add("--iterations", type=int, default=10, help="timed executions (default: 10)")
    add("--name", help="the model's name (default: the file's)")
    add("--core-id", type=int, default=0, help="the core (default: 0)")
    add("--cc-enabled", action="store_true", help="load with collectives")
    add("--rank-id", type=int, default=0, help="rank in the collective (default: 0)")
    add("--world-size", type=int, default=1, help="ranks there are (default: 1)")
    several = "cores to run on at once (default: 1)"
    add("--num-cores", type=_count, default=1, help=several)
    add("--collective", action="store_true", help="make those cores one collective")
    ranks = "processes to run as ranks of one collective, a core each (default: 1)"
    add("--processes", type=_count, default=1, help=ranks)
    add("--info", action="store_true", help="describe the NEFF without running it")
    add("--doctor", action="store_true", help="say which libnrt is used, and why")
    add("--version", action="store_true", help="print spike's version")
    return parser


def _described(path: str) -> list[str]:
    try:
        return describe(read_neff(path))
    except NeffError as error:
        raise ValueError(f"{path}: {error}") from error


def _run(args: argparse.Namespace, argv: Sequence[str]) -> list[str]:
    if args.doctor:
        return [report()]
    if args.info:
        return _described(args.neff_path)
    if args.switch_inputs and args.switch is None:
        raise ValueError("--switch-input is for an input of the NEFF of --switch")
    if args.switch is not None and not args.benchmark:
        raise ValueError("--switch times alternating with a NEFF: add --benchmark")
    if args.processes > 1:
        if args.num_cores > 1:
            raise ValueError("--processes and --num-cores each give ranks: take one")
        return run_as_ranks(args, argv)
    return run_multi_core(args) if args.num_cores > 1 else run_single_core(args)


def console_main(argv: Sequence[str] | None = None) -> int:
    """As :func:`main`, in a process of its own: what it prints may have no reader."""
    return run_command(lambda: main(argv), _NAME)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.neff_path is None and not (args.doctor or args.version):
        parser.error("the following arguments are required: neff_path")
    if args.version:
        sys.stdout.write(f"{parser.prog} {spike.__version__}\n")
        return 0
    try:
        said = _run(args, sys.argv[1:] if argv is None else argv)
    # SpikeError, NrtError, NeffError and TensorMismatchError are among them.
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        sys.stderr.write(f"{_NAME}: error: {error}\n")
        return 1
    sys.stdout.write("".join(line + "\n" for line in said))
    return 0

"""What a NEFF is a program of: its tensors, aliases, target, and where it came from.

The vendor's NEFFs have descriptive members; our emulator's have the program as HLO, in
``nkipy/hlo.pb``, and what the emulator has to know of it in ``nkipy/program.json``.
Tensors and aliases of both are in :mod:`neff.interface`'s member, where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from neff.container import (
    EMULATOR_FEATURE_BIT,
    Container,
    NeffHeader,
    Source,
    read_container,
)
from neff.errors import NeffError
from neff.genuine import read_compiler, read_interface, read_target
from neff.interface import (
    INTERFACE_MEMBER,
    Interface,
    read_interface_fields,
    read_interface_member,
)
from neff.tar import Buffer, Limits
from neff.tensors import (
    Alias,
    TensorInfo,
    check_format,
    expect_object,
    is_text,
    parse_json,
)

HLO_MEMBER = "nkipy/hlo.pb"
PROGRAM_MEMBER = "nkipy/program.json"
PROGRAM_FORMAT = "nkipy-emulator-program"
PROGRAM_VERSION = 3
# In files of these, the number of ranks is called "replicas".
_WITH_REPLICAS = (1, 2)
# In files of this one the program also described its tensors.
_FIRST_VERSION = 1
#: Ranks that a program may name; no cluster has as many cores.
MAX_RANKS = 1 << 20


@dataclass(frozen=True)
class Neff:
    """A NEFF that was read.

    Attributes:
        header: the header's fields.
        members: the files of the tar by name, as bytes or views of them.
        name: the program's name.
        inputs, outputs: in the order of the program's parameters and results.
        aliases: outputs that take the memory of an input.
        target: the chip ("trn2"), or None if the file does not say.
        compiler: name and version of what made it, or None.
        is_emulated: made by our emulator's compiler, and of use to the emulator only.
        numerics: of an emulated NEFF, fields of nkipy's SimulationOptions by name.
        program: of an emulated NEFF, all of ``nkipy/program.json``.
    """

    header: NeffHeader
    members: Mapping[str, Buffer] = field(repr=False)
    name: str
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    aliases: list[Alias]
    target: str | None
    compiler: str | None
    is_emulated: bool
    numerics: Mapping[str, Any]
    program: Mapping[str, Any] = field(repr=False)

    @property
    def lnc(self) -> int:
        """Physical cores to the logical core that the program runs on."""
        return self.header.lnc_size or 1

    @property
    def hlo(self) -> Buffer:
        """The program of an emulated NEFF, a serialised HloModuleProto; not checked.

        Raises:
            NeffError: the NEFF is a genuine one, which has no HLO.
        """
        if not self.is_emulated:
            raise NeffError(
                "a NEFF of the vendor's compiler has machine code and no HLO: it runs "
                "on a Neuron device only"
            )
        return self.members[HLO_MEMBER]


def read_neff(
    source: Source, *, validate_hash: bool = False, limits: Limits | None = None
) -> Neff:
    """Read a NEFF.

    Args:
        source: a path, or the file's bytes.
        validate_hash: compare the payload with the header's hash.
        limits: what to take on at most; see :class:`Limits`.

    Raises:
        NeffError: it is malformed, altered, or beyond the limits; the text has what
            was found and what was expected.
        OSError: the file cannot be read.
    """
    container = read_container(source, validate_hash=validate_hash, limits=limits)
    if PROGRAM_MEMBER in container.members:
        return _emulated(container)
    if container.header.feature_bits & EMULATOR_FEATURE_BIT:
        raise NeffError(f"an emulator's NEFF without its member {PROGRAM_MEMBER}")
    return _genuine(container)


def _genuine(container: Container) -> Neff:
    interface = read_interface_member(container.members)
    if interface is None:
        interface = read_interface(container.members)
    return Neff(
        header=container.header,
        members=MappingProxyType(dict(container.members)),
        name=container.header.name,
        **interface._asdict(),
        target=read_target(container.members),
        compiler=read_compiler(container.members),
        is_emulated=False,
        numerics=MappingProxyType({}),
        program=MappingProxyType({}),
    )


def _emulated(container: Container) -> Neff:
    header, members = container.header, container.members
    if not header.feature_bits & EMULATOR_FEATURE_BIT:
        raise NeffError(
            f"member {PROGRAM_MEMBER}, but feature bits {header.feature_bits:#x} "
            f"without {EMULATOR_FEATURE_BIT:#x}, which every emulator's NEFF has"
        )
    if HLO_MEMBER not in members:
        raise NeffError(f"an emulator's NEFF without its member {HLO_MEMBER}")
    program = expect_object(parse_json(members, PROGRAM_MEMBER), PROGRAM_MEMBER)
    versions = PROGRAM_VERSION, *_WITH_REPLICAS
    check_format(program, PROGRAM_MEMBER, PROGRAM_FORMAT, *versions)
    _check_cores(program, header)
    interface = _interface(program, members)
    compiler = expect_object(program.get("compiler"), "the program's compiler")
    return Neff(
        header=header,
        members=MappingProxyType(dict(members)),
        name=_string(program, "name"),
        **interface._asdict(),
        target=_string(program, "target"),
        compiler=f"{_string(compiler, 'name')} {_string(compiler, 'version')}",
        is_emulated=True,
        numerics=MappingProxyType(_numerics(program)),
        program=MappingProxyType(program),
    )


def _interface(program: dict[str, Any], members: Mapping[str, Buffer]) -> Interface:
    if program["version"] == _FIRST_VERSION:
        return read_interface_fields(program)
    interface = read_interface_member(members)
    if interface is None:
        raise NeffError(f"an emulator's NEFF without its member {INTERFACE_MEMBER}")
    return interface


def _check_cores(program: dict[str, Any], header: NeffHeader) -> None:
    """How many cores: ranks within bounds, and an LNC that is the header's."""
    name = "replicas" if program["version"] in _WITH_REPLICAS else "ranks"
    ranks, lnc = program.get(name), program.get("lnc")
    if type(ranks) is not int or not 1 <= ranks <= MAX_RANKS:
        raise NeffError(
            f"{name!r} of {PROGRAM_MEMBER} is {ranks!r:.80}, not a number from 1 to "
            f"{MAX_RANKS}"
        )
    expected = header.lnc_size or 1
    if type(lnc) is not int or lnc != expected:
        raise NeffError(
            f"'lnc' of {PROGRAM_MEMBER} is {lnc!r:.80}, but the header has {expected}"
        )


def _string(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not is_text(value):
        raise NeffError(f"{name!r} of {PROGRAM_MEMBER} is {value!r:.80}, not a string")
    return value


def _numerics(program: dict[str, Any]) -> dict[str, Any]:
    numerics = expect_object(program.get("numerics"), "the program's numerics")
    for name, value in numerics.items():
        if not isinstance(value, (str, bool)):
            raise NeffError(f"numerics option {name!r} is {value!r:.80}")
    return numerics

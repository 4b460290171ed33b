"""Records of custom calls: what they hold, where they come from, and hashes."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nkipy.core.backend.hlo import TOPK_CUSTOM_CALL
from nkipy.hlo import custom_calls, vendor_calls
from nkipy.hlo.builder import HLOBuilder
from nkipy.hlo.custom_calls import (
    AS_LOWERED,
    AsHLO,
    CustomCall,
    CustomCallError,
    EngineTime,
    EntryPointError,
    Passes,
    accept,
    emit,
    find,
)
from nkipy.hlo.ir import HLOModule, Shape
from tests.support.packages import install

F32 = np.dtype(np.float32)
X = Shape(F32, (4,))


def nothing(*_: Any) -> None:
    """Computes nothing."""


def record(target: str = "acme.one", **parts: Any) -> CustomCall:
    given = {"version": "1", "check": accept, "cost": Passes("VectorE")}
    given |= {"run": nothing} | parts
    return CustomCall(target=target, **given)


def module_calling(made: CustomCall, results: Any = X) -> HLOModule:
    module = HLOModule("m")
    p = module.add_parameter(X.dims, X.dtype, "p")
    q = module.add_parameter(X.dims, X.dtype, "q")
    call = emit(HLOBuilder(module.entry), made, (p, q), results)
    module.set_results(call if call.tuple_shapes is None else p)
    return module


@pytest.fixture
def registered():
    """Registers records for one test."""
    targets = []

    def add(made: CustomCall) -> CustomCall:
        custom_calls.register(made)
        targets.append(made.target)
        return made

    yield add
    for target in targets:
        custom_calls.unregister(target)


# -- records ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"target": ""}, "target must be a text"),
        ({"version": ""}, "version must be a text"),
        ({"version": 1}, "version must be a text"),
        ({"run": None}, "needs a run or a lowering"),
        ({"run": "text"}, "run must be a function"),
        ({"lowering": 1}, "lowering must be a function"),
        ({"check": None}, "check must be a function"),
        ({"cost": None}, "cost must be Passes"),
        ({"cost": "cheap"}, "cost must be Passes"),
        ({"cost": AS_LOWERED}, "there is none"),
        ({"only_compiled": True}, "or else only_compiled"),
        ({"aliases": [(0, 1)]}, "aliases must map"),
        ({"aliases": {0: -1}}, "aliases must map"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_what_a_record_lacks_fails_when_it_is_made(parts, said):
    with pytest.raises(CustomCallError, match=said):
        record(**parts)


def test_a_part_that_is_left_out_is_missed():
    with pytest.raises(TypeError, match="version.*check.*cost"):
        CustomCall(target="acme.one", run=nothing)  # type: ignore[call-arg]


def test_a_record_does_not_change():
    made = record(aliases={0: 1})
    with pytest.raises(AttributeError):
        made.version = "2"  # type: ignore[misc]
    with pytest.raises(TypeError):
        made.aliases[0] = 0  # type: ignore[index]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Passes("PE"),
        lambda: Passes("VectorE", 0),
        lambda: Passes("VectorE", over="all"),  # type: ignore[arg-type]
        lambda: EngineTime("HBM", 1.0),
        lambda: EngineTime("DMA", -1.0),
        lambda: EngineTime("DMA", float("nan")),
        lambda: EngineTime("TensorE", 1.0, flops=-1),
    ],
)
def test_costs_that_there_are_not(make):
    with pytest.raises(CustomCallError):
        make()


def test_a_call_names_the_records_aliases():
    made = record(aliases={0: 1})
    call = module_calling(made).operations[0]
    assert call.attributes["output_operand_aliasing"] == ((None, 1),)
    assert made.aliases_in(call) == {0: 1}
    pair = module_calling(made, [X, Shape(F32, (2,))]).operations[0]
    assert pair.attributes["output_operand_aliasing"] == ((0, 1),)


@pytest.mark.parametrize("aliases", [{0: 2}, {1: 0}])
def test_aliases_must_fit_the_call(aliases):
    with pytest.raises(CustomCallError, match=r"cannot be operand .*f32\[4\]"):
        module_calling(record(aliases=aliases))
    with pytest.raises(CustomCallError, match="output 0 cannot be operand 0"):
        module_calling(record(aliases={0: 0}), Shape(F32, (5,)))


def _to_integers(call, operands, b):
    return b.convert(operands[0], np.dtype(np.int32))


def test_what_a_lowering_builds_must_be_like_the_call():
    made = record(lowering=_to_integers)
    module = module_calling(made)
    call = module.operations[0]
    with pytest.raises(CustomCallError, match=r"has the result f32\[4\].*has s32\[4\]"):
        made.lower(call, call.operands, HLOBuilder(module.entry))


# -- where they come from --------------------------------------------------------------
def test_the_vendors_targets_have_records():
    top_k = find("AwsNeuronTopK")
    assert top_k is vendor_calls.TOP_K and top_k.is_computed
    assert top_k.target == TOPK_CUSTOM_CALL
    gelu = find("AwsNeuronGelu")
    assert gelu is not None and not gelu.is_computed
    assert find("nobody") is None
    offered = "AwsNeuronCustomNativeKernel"  # by a kernel language
    assert custom_calls.known_targets() == [offered, "AwsNeuronTopK"]
    assert {"AwsNeuronTopK", "AwsNeuronGelu"} < set(custom_calls.recognized_targets())


def test_registering_and_unregistering(registered):
    first, second = registered(record()), record(version="2")
    assert find("acme.one") is first
    registered(second)
    assert find("acme.one") is second
    custom_calls.unregister("acme.one")
    assert find("acme.one") is None


def test_a_vendors_target_gets_a_run_and_keeps_check_and_cost(registered):
    made = registered(custom_calls.with_run("AwsNeuronGelu", nothing, "7"))
    assert find("AwsNeuronGelu") is made and made.is_computed
    assert made.cost == vendor_calls.VENDOR_CALLS["AwsNeuronGelu"].cost
    custom_calls.unregister("AwsNeuronGelu")
    assert not find("AwsNeuronGelu").is_computed


def test_what_is_computed_here_cannot_be_replaced():
    with pytest.raises(CustomCallError, match="AwsNeuronTopK is computed by XLA"):
        custom_calls.register(record("AwsNeuronTopK"))


MODULE = """
import numpy
from nkipy.hlo.custom_calls import CustomCall, Passes, accept

def make(target, version="1"):
    return CustomCall(target=target, version=version, check=accept,
                      cost=Passes("VectorE"), run=print)

GOOD = make("acme.good")
GELU = make("AwsNeuronGelu")
OTHER = make("acme.another")
"""
GROUP = custom_calls.GROUP


@pytest.fixture
def site(tmp_path: Path, monkeypatch):
    """A directory with installed packages, on this process's path."""
    name = f"acme_{tmp_path.name}".replace("-", "_")
    broken = {f"{name}_broken.py": "import no_such_module\n"}
    install(
        tmp_path,
        "acme-good",
        {f"{name}.py": MODULE, **broken},
        {
            GROUP: {
                "acme.good": f"{name}:GOOD",
                "AwsNeuronGelu": f"{name}:GELU",
                "AwsNeuronTopK": f"{name}_broken:TOPK",
                "acme.broken": f"{name}_broken:CALL",
                "acme.missing": f"{name}:MISSING",
                "acme.other": f"{name}:OTHER",
                "acme.number": f"{name}:__name__",
            }
        },
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for module in (name, f"{name}_broken"):
        sys.modules.pop(module, None)


def test_a_package_offers_a_record(site):
    found = find("acme.good")
    assert found is not None and found.target == "acme.good"
    assert find("acme.good") is found
    assert "acme.good" in custom_calls.known_targets()


def test_only_the_package_that_is_asked_for_is_imported(site):
    before = set(sys.modules)
    assert find("AwsNeuronTopK") is vendor_calls.TOP_K
    assert find("nobody") is None
    custom_calls.known_targets()
    assert set(sys.modules) == before
    assert find("AwsNeuronGelu").is_computed  # the vendor's compiles only
    assert not any(name.endswith("_broken") for name in set(sys.modules) - before)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("acme.broken", "cannot be loaded: ModuleNotFoundError: .*no_such_module"),
        ("acme.missing", "cannot be loaded: AttributeError"),
        ("acme.other", "is the record of 'acme.another'"),
        ("acme.number", "is no CustomCall but a str"),
    ],
)
def test_a_broken_entry_point_is_named_and_breaks_no_other(site, target, said):
    for _ in range(2):
        with pytest.raises(EntryPointError, match=said) as error:
            find(target)
        text = str(error.value)
        assert f"entry point {target!r} of 'nkipy.custom_calls'" in text
        assert "from acme-good 1.0" in text
    assert find("acme.good").is_computed


def test_two_records_for_one_target_are_an_error(site, tmp_path_factory, monkeypatch):
    second = tmp_path_factory.mktemp("second")
    install(second, "acme-copy", {}, {GROUP: {"acme.good": "acme_copy:GOOD"}})
    monkeypatch.syspath_prepend(str(second))
    with pytest.raises(
        CustomCallError,
        match="acme-good 1.0.* and .*acme-copy 1.0|acme-copy 1.0.* and .*acme-good 1.0",
    ):
        find("acme.good")
    assert find("AwsNeuronGelu").is_computed


def test_what_is_registered_comes_before_a_package(site, registered):
    made = registered(record("acme.good"))
    assert find("acme.good") is made


def test_many_threads_get_one_record(site):
    found: list[Any] = []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        found.append(find("acme.good"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1


def test_ordinary_programs_ask_nobody():
    script = """
import sys
import numpy as np
from nkipy.core.trace import trace_function
module = trace_function(lambda x: x + 1, [np.ones(3, "f4")], {}).module
module.content_hash()
assert "nkipy.hlo.custom_calls" not in sys.modules
from nkipy.core.ops import topk
module = trace_function(lambda x: topk(x, 1), [np.ones(3, "f4")], {}).module
module.content_hash()
from nkipy.hlo import entry_points
assert entry_points._offers.cache_info().misses == 0
"""
    subprocess.run([sys.executable, "-c", script], check=True)


# -- hashes ----------------------------------------------------------------------------
def test_the_version_enters_the_hash(registered):
    module = module_calling(record())
    unknown = module.content_hash()
    hashes = {unknown}
    for version in ("1", "2"):
        registered(record(version=version))
        hashes.add(module.content_hash())
        assert module.content_hash() == module_calling(record()).content_hash()
    assert len(hashes) == 3
    custom_calls.unregister("acme.one")
    assert module.content_hash() == unknown


def test_a_call_within_a_branch_counts(registered):
    inner = module_calling(record()).entry
    inner.root = inner.instructions[-1]
    module = HLOModule("m")
    p = module.add_parameter(X.dims, X.dtype, "p")
    b = HLOBuilder(module.entry)
    module.set_results(b.emit("call", (p, p), X.dims, X.dtype, {"to_apply": inner}))
    before = module.content_hash()
    registered(record(version="9"))
    assert module.content_hash() != before


def test_a_broken_record_is_no_hash(site):
    module = module_calling(record("acme.broken"))
    with pytest.raises(EntryPointError, match="acme.broken"):
        module.content_hash()


def test_as_hlo_builds_what_it_is_told():
    made = record(cost=AsHLO(lambda call, operands, b: b.add(*operands)))
    module = module_calling(made)
    call = module.operations[0]
    stand_in = made.costed_as(call, call.operands, HLOBuilder(module.entry))
    assert stand_in.opcode == "add"
    assert record().costed_as(call, call.operands, HLOBuilder(module.entry)) is None

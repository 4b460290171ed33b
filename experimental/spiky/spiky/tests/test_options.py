"""Options of one function: how each is read, and what is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

import spiky
from spiky.options import Buckets, CompileOptions, read_options
from spiky.torch import NKIPyBackendConfig

CONFIG = NKIPyBackendConfig()


def test_without_options_all_is_the_configurations() -> None:
    config = NKIPyBackendConfig(
        pipelined=False,
        pad_on_device=False,
        keep_outputs_on_device=True,
        input_layout="padded",
        output_layout="padded",
        max_bucket_size=64,
        bucket_strategy="linear",
    )
    assert read_options(None, config) == CompileOptions(
        pipelined=False,
        pad_on_device=False,
        keep_outputs_on_device=True,
        input_layout="padded",
        output_layout="padded",
        unpad_outputs=False,
        max_bucket_size=64,
        bucket_strategy="linear",
    )
    assert read_options({}, CONFIG) == CompileOptions()


@pytest.mark.smoke
def test_options_go_before_the_configuration(tmp_path: Path) -> None:
    given = {
        "pipelined": False,
        "pad_on_device": False,
        "input_layout": "padded",
        "output_layout": "padded",
        "keep_outputs_on_device": True,
        "unpad_outputs": True,
        "buckets": [8, 4, 8],
        "jit": False,
        "save_ntff": True,
        "save_ntff_dir": str(tmp_path),
        "save_ntff_exe_idx": [3, 0],
        "unsupported": "error",
        "flash_attention": True,
        "bucket_strategy": "exact",
        "max_bucket_size": 7,
    }
    assert set(given) == {field.name for field in fields(CompileOptions)}
    read = read_options(given, CONFIG)
    expected = {
        **given,
        "buckets": Buckets((4, 8)),
        "save_ntff_dir": tmp_path,
        "save_ntff_exe_idx": (3, 0),
    }
    assert {name: getattr(read, name) for name in given} == expected


def test_outputs_are_cut_unless_their_layout_is_padded() -> None:
    def cuts(**given: Any) -> bool:
        return read_options(given, CONFIG).unpad_outputs

    assert cuts() and cuts(output_layout="unpad")
    assert not cuts(output_layout="padded")
    assert cuts(output_layout="padded", unpad_outputs=True)
    assert not cuts(unpad_outputs=False)


def test_buckets_are_of_all_dimensions_or_of_each() -> None:
    everywhere = read_options({"buckets": (2, 1)}, CONFIG).buckets
    assert everywhere is not None
    assert everywhere.of(0) == everywhere.of(5) == (1, 2)
    each = read_options({"buckets": {0: [8], 1: [64, 32]}}, CONFIG).buckets
    assert each is not None
    assert (each.of(0), each.of(1), each.of(2)) == ((8,), (32, 64), ())
    assert read_options({"buckets": None}, CONFIG).buckets is None


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"pipeline": True}, ValueError, "no option 'pipeline': did you mean 'pipelined'"),
    ({"frobnicate": 1}, ValueError, "there are pipelined, pad_on_device, input_layout"),
    ({1: 1}, ValueError, "no option 1"),
    ({"pipelined": "yes"}, TypeError, "option 'pipelined' is True or False: got 'yes'"),
    ({"jit": 0, "buckets": [1]}, TypeError, "option 'jit' is True or False: got 0"),
    ({"jit": False}, ValueError, "give 'buckets', too"),
    ({"input_layout": "unpad"}, ValueError, "is 'auto' or 'padded': got 'unpad'"),
    ({"output_layout": 3}, TypeError, "is 'unpad' or 'padded': got 3"),
    ({"buckets": []}, ValueError, "option 'buckets' is empty"),
    ({"buckets": {}}, ValueError, "option 'buckets' has no dimension"),
    ({"buckets": {0: []}}, ValueError, r"option 'buckets'\[0\] is empty"),
    ({"buckets": {-1: [2]}}, ValueError, "a dimension of option 'buckets'"),
    ({"buckets": [4, 0]}, ValueError, "integer from 1 on: got 0"),
    ({"buckets": [4.0]}, TypeError, "integer from 1 on: got 4.0"),
    ({"buckets": 4}, TypeError, "is a list of sizes: got 4"),
    ({"buckets": "48"}, TypeError, "is a list of sizes: got '48'"),
    ({"save_ntff_dir": None}, TypeError, "is the path of a directory"),
    ({"save_ntff_exe_idx": [-1]}, ValueError, "integer from 0 on: got -1"),
    ({"unsupported": "ignore"}, ValueError, "is 'eager' or 'error'"),
    ({"max_bucket_size": 0}, ValueError, "integer from 1 on"),
]


@pytest.mark.parametrize(("given", "error", "said"), REFUSED)
def test_wrong_options_are_refused(
    given: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        read_options(given, CONFIG)
    with pytest.raises(ValueError, match=said):
        spiky.compile(torch.nn.Identity(), given)


def test_options_that_are_no_dict_are_refused() -> None:
    with pytest.raises(TypeError, match="options are a dict"):
        read_options([("jit", True)], CONFIG)  # type: ignore[arg-type]


@pytest.mark.smoke
def test_torch_lets_the_error_through_as_it_is(backend: None) -> None:
    """And does not wrap it into one that is no ValueError."""
    compiled = torch.compile(torch.abs, backend="nkipy", options={"bucket": [1]})
    with pytest.raises(ValueError, match="did you mean 'buckets'"):
        compiled(torch.ones(2))
    wrong: dict[str, Any] = {"pipelined": 1}
    with pytest.raises(TypeError, match="option 'pipelined'"):
        torch.compile(torch.neg, backend="nkipy", options=wrong)(torch.ones(2))

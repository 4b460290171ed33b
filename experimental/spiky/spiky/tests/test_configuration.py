"""Setting the backend up: arguments, what may be changed later, and what may not."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import spike_torch
import spiky.torch
from spiky.torch import (
    NKIPyBackendConfig,
    get_nkipy_backend_config,
    init_nkipy_backend,
    is_nkipy_backend_initialized,
    reset_nkipy_backend,
    reset_nkipy_backend_config,
    set_nkipy_backend_config,
)


@pytest.mark.smoke
def test_it_is_set_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert not is_nkipy_backend_initialized()
    init_nkipy_backend()
    assert is_nkipy_backend_initialized()
    assert get_nkipy_backend_config() == NKIPyBackendConfig(
        nkipy_cache=None,
        log_level=logging.INFO,
        rank=0,
        world_size=1,
        core_offset=0,
        additional_compiler_args="",
        max_bucket_size=2048,
        bucket_strategy="power_of_2",
        pad_on_device=True,
        keep_outputs_on_device=False,
        pipelined=True,
        input_layout="auto",
        output_layout="unpad",
    )
    with pytest.raises(RuntimeError, match="has already been initialized"):
        init_nkipy_backend()
    reset_nkipy_backend()
    assert not is_nkipy_backend_initialized()
    reset_nkipy_backend()
    init_nkipy_backend(output_layout="padded")
    assert get_nkipy_backend_config().output_layout == "padded"


def test_arguments_become_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")  # the second machine's, say
    init_nkipy_backend(
        tmp_path / "made/by/it",
        "DEBUG",
        1,
        4,
        0,
        "--verbose 'a b'",
        False,
        True,
        False,
        "padded",
        "padded",
        max_bucket_size=64,
        bucket_strategy="exact",
    )
    assert get_nkipy_backend_config() == NKIPyBackendConfig(
        tmp_path / "made/by/it",
        logging.DEBUG,
        1,
        4,
        0,
        "--verbose 'a b'",
        64,
        "exact",
        False,
        True,
        False,
        "padded",
        "padded",
    )
    assert (tmp_path / "made/by/it").stat().st_mode & 0o777 == 0o700


def test_the_cache_is_the_users_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_nkipy_backend()
    assert get_nkipy_backend_config().build_options(b"key").directory is None
    assert get_nkipy_backend_config().build_options(b"key").extra_key == b"key"
    reset_nkipy_backend()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/mine").write_text("stays")
    init_nkipy_backend("cache", additional_compiler_args="--verbose")
    options = get_nkipy_backend_config().build_options()
    assert options.directory == tmp_path / "cache"
    assert options.additional_compiler_args == "--verbose"
    assert (tmp_path / "cache/mine").read_text() == "stays"


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"input_layout": "unpad"}, ValueError, "input_layout is 'auto' or 'padded'"),
    ({"output_layout": "auto"}, ValueError, "output_layout is 'unpad' or 'padded'"),
    ({"output_layout": None}, TypeError, "output_layout"),
    ({"bucket_strategy": "fib"}, ValueError, "'power_of_2' or 'linear' or 'exact'"),
    ({"max_bucket_size": 0}, ValueError, "max_bucket_size is an integer from 1 on"),
    ({"core_offset": -1}, ValueError, "core_offset is an integer from 0 on: got -1"),
    ({"core_offset": 1.0}, TypeError, "core_offset"),
    ({"rank": -1}, ValueError, "rank is an integer from 0 on"),
    ({"rank": 2, "world_size": 2}, ValueError, "rank 2 is none of 2"),
    ({"world_size": 0}, ValueError, "world_size is an integer from 1 on"),
    ({"world_size": True}, TypeError, "world_size"),
    ({"pipelined": 1}, TypeError, "pipelined is True or False: got 1"),
    ({"pad_on_device": "yes"}, TypeError, "pad_on_device"),
    ({"keep_outputs_on_device": None}, TypeError, "keep_outputs_on_device"),
    ({"log_level": "LOUD"}, ValueError, "'LOUD' is no level"),
    ({"log_level": 1.5}, TypeError, "log_level"),
    ({"nkipy_cache": 3}, TypeError, "nkipy_cache is the path"),
    ({"nkipy_cache": "~nobody-here/x"}, ValueError, "names no home directory"),
    ({"nkipy_cache": ""}, ValueError, "nkipy_cache is the path"),
    ({"additional_compiler_args": "'open"}, ValueError, "additional_compiler_args"),
    ({"additional_compiler_args": ["-x"]}, TypeError, "additional_compiler_args"),
]


@pytest.mark.parametrize(("arguments", "error", "said"), REFUSED)
def test_wrong_arguments_change_nothing(
    arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        init_nkipy_backend(**arguments)
    assert not is_nkipy_backend_initialized()
    if "world_size" not in arguments:
        with pytest.raises(error):
            NKIPyBackendConfig(**arguments)


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        init_nkipy_backend(tmp_path / "file")
    assert not is_nkipy_backend_initialized()


def test_logging_is_the_users_but_for_the_level(backend: None) -> None:
    handlers = list(logging.getLogger().handlers)
    logger = logging.getLogger("spiky")
    assert logger.level == logging.INFO and logger.handlers == []
    config = replace(get_nkipy_backend_config(), log_level=logging.ERROR)
    set_nkipy_backend_config(config)
    assert logger.level == logging.ERROR
    reset_nkipy_backend()
    assert logger.level == logging.NOTSET
    assert logging.getLogger().handlers == handlers


def test_the_environment_stays_as_it_is(tmp_path: Path) -> None:
    """But for the core, which spike.configure notes there."""

    def environment() -> dict[str, str]:
        noted = "NEURON_RT_VISIBLE_CORES"
        return {name: value for name, value in os.environ.items() if name != noted}

    before = environment()
    init_nkipy_backend(tmp_path, rank=0, world_size=1)
    assert environment() == before


def test_the_configuration_can_be_exchanged(backend: None) -> None:
    first = get_nkipy_backend_config()
    with pytest.raises(FrozenInstanceError):
        first.max_bucket_size = 1  # type: ignore[misc]
    other = replace(first, max_bucket_size=16, bucket_strategy="linear")
    set_nkipy_backend_config(other)
    assert get_nkipy_backend_config() is other
    reset_nkipy_backend_config()
    assert get_nkipy_backend_config() == first
    with pytest.raises(TypeError, match="expected an NKIPyBackendConfig"):
        set_nkipy_backend_config({"rank": 0})  # type: ignore[arg-type]
    for changed in ({"world_size": 2}, {"core_offset": 1}):
        with pytest.raises(ValueError, match="cannot be . any more"):
            set_nkipy_backend_config(replace(first, **changed))
    assert get_nkipy_backend_config() == first


@pytest.mark.parametrize(
    "use", [get_nkipy_backend_config, lambda: set_nkipy_backend_config(CONFIG)]
)
def test_there_is_no_configuration_before(use: Callable[[], object]) -> None:
    reset_nkipy_backend_config()
    with pytest.raises(RuntimeError, match=r"call spiky\.torch\.init_nkipy_backend"):
        use()


CONFIG = NKIPyBackendConfig()


@pytest.mark.smoke
def test_a_compiled_call_before_says_what_to_call() -> None:
    compiled = torch.compile(torch.nn.Linear(2, 2), backend="nkipy")
    with pytest.raises(RuntimeError, match=r"call spiky\.torch\.init_nkipy_back"):
        compiled(torch.ones(1, 2))
    init_nkipy_backend()
    assert compiled(torch.ones(1, 2)).shape == (1, 2)


def test_a_mode_is_refused(backend: None) -> None:
    compiled = torch.compile(torch.abs, backend="nkipy", mode="reduce-overhead")
    with pytest.raises(ValueError, match='modes are those of "inductor"'):
        compiled(torch.ones(2))


def test_devices_are_those_of_the_torch_device(backend: None) -> None:
    assert spiky.torch.device_count() == torch.nkipy.device_count() >= 1
    assert spiky.torch.current_device() == 0
    spiky.torch.set_device(0)
    with pytest.raises(RuntimeError):
        spiky.torch.set_device(spike_torch.device_count())

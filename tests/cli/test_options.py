"""What the command lines share, and the training command."""

from __future__ import annotations

import pytest
import torch

from fgvedit.cli import train
from fgvedit.cli.options import add_common_options, parse_overrides
from fgvedit.util.arguments import ArgumentParser
from fgvedit.util.devices import parse_device, parse_dtype
from fgvedit.util.errors import FGVEditError, command_line


@pytest.fixture
def parser() -> ArgumentParser:
    parser = ArgumentParser(prog="program")
    parser.add_argument("--editor", required=True)
    add_common_options(parser)
    return parser


def test_defaults(parser):
    args = parser.parse_args(["--editor", "none"])
    assert (args.device, args.dtype, args.seed, args.set) == ("auto", "float32", 0, [])


def test_settings_are_kept_in_order(parser):
    args = parser.parse_args(["--editor", "none", "--set", "a=1", "--set=b=2"])
    assert args.set == ["a=1", "b=2"]


@pytest.mark.parametrize("option", ["--editr", "--editr=none"])
def test_an_unknown_option_names_the_nearest(parser, option, capsys):
    with pytest.raises(SystemExit) as caught:
        parser.parse_args([option, "none"])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "did you mean '--editor'?" in error and error.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--editor", "none", "--seed", "x"], ["--editor", "none", "more"]])
def test_bad_arguments_end_in_one_line_and_code_2(parser, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_devices():
    assert parse_device("cpu") == torch.device("cpu")
    assert parse_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cdua", "cuda:x", "", "cuda:99", "cpu:1", "auto:0"])
def test_bad_devices(name):
    with pytest.raises(FGVEditError, match=f"device '{name}'.*expected"):
        parse_device(name)


def test_the_nearest_device():
    with pytest.raises(FGVEditError, match=r"did you mean 'cuda'\?"):
        parse_device("cdua")


def test_dtypes():
    assert parse_dtype("bfloat16") == torch.bfloat16
    with pytest.raises(FGVEditError, match=r"unknown dtype 'float61'.*did you mean 'float16'\?"):
        parse_dtype("float61")


def test_overrides_are_typed():
    found = parse_overrides(["lr=1e-3", "steps=10", "fusion=dot", "norm=true", "layers=[1, 2]", "text=a=b"])
    assert found == {"lr": 1e-3, "steps": 10, "fusion": "dot", "norm": True, "layers": [1, 2], "text": "a=b"}
    assert isinstance(found["steps"], int)


@pytest.mark.parametrize("setting", ["lr", "=1", " =1", "lr=[1"])
def test_bad_overrides(setting):
    with pytest.raises(FGVEditError, match="--set"):
        parse_overrides([setting])


def run_train(*arguments: str) -> None:
    train.main(list(arguments))


def test_train_help_teaches(capsys):
    with pytest.raises(SystemExit) as caught:
        run_train("--help")
    assert caught.value.code == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--editor", "msckee"], "unknown editor 'msckee'.*did you mean 'mscke'"),
        (["--editor", "none"], "nothing to train"),
        (["--editor", "mscke", "--device", "gpu"], "unknown device 'gpu'"),
        (["--editor", "mscke", "--dtype", "fp32"], "unknown dtype 'fp32'"),
        (["--editor", "mscke", "--set", "lr"], "expected KEY=VALUE"),
        (["--editor", "mscke", "--dataset", "scene"], "did you mean 'scenes'"),
        (["--editor", "mscke", "--limit", "0"], "--limit is 0; expected 1 or more"),
        (["--editor", "mscke", "--limit", "1", "--backbone", "tinny"], "did you mean 'tiny'"),
    ],
)
def test_train_refuses_bad_input(arguments, message):
    with pytest.raises(FGVEditError, match=message):
        run_train(*arguments)


EDITOR = '''
import json
from dataclasses import dataclass
from fgvedit.editors.contract import Editor

class Counter(Editor):
    """Learns how many records there are."""
    name = "counter"
    trained = True

    @dataclass
    class Config:
        start: int = 0

    def train(self, records, out, seed):
        self.count = self.config.start + len(records) + seed

    def save(self, folder):
        (folder / "count.json").write_text(json.dumps(self.count))

    def edit(self, edits):
        raise NotImplementedError
'''


def test_train_trains_and_saves(tmp_path, dataset_folder, random_blip2, capsys):
    module = tmp_path / "counting.py"
    module.write_text(EDITOR)
    out = tmp_path / "new" / "checkpoint"
    run_train(
        *("--editor", f"{module}:Counter", "--backbone", str(random_blip2), "--dataset", str(dataset_folder)),
        *("--out", str(out), "--limit", "2", "--seed", "5", "--set", "start=100", "--device", "cpu"),
    )
    assert (out / "count.json").read_text() == "107"
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (FGVEditError("what is wrong"), 2, "error: what is wrong"),
        (FGVEditError("what is wrong with \x1b[2J"), 2, "error: what is wrong with \\x1b[2J"),
        (PermissionError(13, "Permission denied", "/out"), 2, "error: '/out': Permission denied"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_errors_end_in_one_line(error, code, message, capsys):
    def main(argv):
        raise error

    with pytest.raises(SystemExit) as caught:
        command_line(main)
    assert caught.value.code == code
    line = capsys.readouterr().err
    assert line.startswith(message) and line.count("\n") == 1

"""The command line: one group whose commands are imported when they are used."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from . import __version__
from .errors import LmedgeError, MissingDependencyError
from .harmless import HarmlessFormatter, echo, print_error
from .processes import leave_working_folder
from .progress import TALK, WARNINGS, show_progress
from .streams import STDOUT, ReaderLeftError, prepare_streams, write_problem

# verb -> (module, its click command, the line shown by `lmedge --help`)
COMMANDS = {
    "data": ("lmedge.train.data.command", "data", "Check photographs and split them."),
    "train": ("lmedge.train.command", "train", "Train on a folder of photographs."),
    "evaluate": (
        "lmedge.train.evaluate",
        "evaluate",
        "Score the float network of a run on photographs.",
    ),
    "compare": (
        "lmedge.train.compare.command",
        "compare",
        "Compare strategies, backbones and recipes.",
    ),
    "export": ("lmedge.export.command", "export", "Make one int8 .tflite of a training run."),
    "teach": (
        "lmedge.teach.command",
        "teach",
        "Teach a file landmarks in seconds, without TensorFlow.",
    ),
    "inspect": ("lmedge.commands.inspect", "inspect", "Show what an exported file is and holds."),
    "labels": ("lmedge.commands.inspect", "list_labels", "List the labels of an exported file."),
    "predict": ("lmedge.commands.predict", "predict", "Classify images with an exported file."),
    "camera": ("lmedge.camera.command", "camera", "Classify a live camera, a video or a folder."),
    "label": ("lmedge.field.label", "label", "Label collected images in a browser."),
    "drift": (
        "lmedge.field.drift_command",
        "drift",
        "Show what a file predicts in the field, over time.",
    ),
    "app": ("lmedge.app.command", "app", "Write the page that runs a file in phones' browsers."),
    "benchmark": ("lmedge.benchmarks.command", "benchmark", "Measure how good and fast a file is."),
    "deploy": ("lmedge.deploy.command", "deploy", "Put a file into service on boards, over ssh."),
    "fleet": (
        "lmedge.deploy.fleet_command",
        "fleet",
        "Ask boards how they are, and lead them back.",
    ),
    "sign": ("lmedge.deploy.sign_command", "sign", "Sign a file for boards that know a key."),
    "board": (
        "lmedge.deploy.board_command",
        "board",
        "Keep a release running, on the board itself.",
    ),
    "demo": (
        "lmedge.train.demo.command",
        "demo",
        "Draw, train, export and classify: no photographs needed.",
    ),
    "doctor": (
        "lmedge.commands.doctor",
        "doctor",
        "Show what is installed, what is missing, what to do.",
    ),
}
# Top-level modules of the optional extra, whose absence has a message of its own.
TRAIN_EXTRA = {
    "tensorflow",
    "tf_keras",
    "tensorflow_model_optimization",
    "scipy",
    "matplotlib",
    "safetensors",
    "h5py",
    "PIL",
}


class LazyGroup(click.Group):
    """A group that lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one verb."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        try:
            command = getattr(importlib.import_module(module), attribute)
            if (cv2 := sys.modules.get("cv2")) is not None:
                cv2.imdecode  # noqa: B018  (an installation that lost its files has no names)
        except (ImportError, AttributeError) as error:
            raise _missing(cmd_name, error) from error
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader that closes the pipe, such as `head`, is no error."""
        try:
            return super().invoke(ctx)
        except (ImportError, AttributeError) as error:  # commands import TensorFlow as they run
            raise _missing(ctx.invoked_subcommand or "", error) from error
        except ReaderLeftError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except BrokenPipeError as error:  # click would end without a word
            raise LmedgeError(
                f"cannot go on: a process that was asked has ended ({error})"
            ) from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a verb from the table, without importing its module."""
        verbs = [
            CompletionItem(verb, help=line)
            for verb, (_, _, line) in COMMANDS.items()
            if verb.startswith(incomplete)
        ]
        return (
            verbs
            if verbs and not incomplete.startswith("-")
            else super().shell_complete(ctx, incomplete)
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, _, line) in COMMANDS.items()])


def _missing(verb: str, error: ImportError | AttributeError) -> Exception:
    """Return the error of a package that is missing or broken; return other errors as they are."""
    name = (error.name or "").split(".")[0]
    if isinstance(error, AttributeError) and getattr(error.obj, "__name__", "") != "cv2":
        return error
    if name == "lmedge":
        return error
    if name in TRAIN_EXTRA:
        return MissingDependencyError(
            f"`lmedge {verb}` needs {name}: run `pip install 'lmedge[train]'` on the computer that "
            "trains; the device does not need it"
        )
    from .commands.packages import check_opencv

    opencv = check_opencv()
    if opencv.blocks:
        return MissingDependencyError(
            f"`lmedge {verb}` needs OpenCV: {opencv.detail}; {opencv.action}"
        )
    return MissingDependencyError(
        f"`lmedge {verb}` cannot start ({error}); run `lmedge doctor` to see what is missing"
    )


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lmedge")
@click.option("-q", "--quiet", is_flag=True, help="Print results and errors only.")
@click.option("-v", "--verbose", count=True, help="Print more; twice for everything.")
def cli(quiet: bool, verbose: int) -> None:
    """Recognise landmarks and their categories from photographs, on the device, offline.

    \b
    lmedge train PHOTOGRAPHS          learn from <category>/<landmark>/*.jpg
    lmedge evaluate runs/PHOTOGRAPHS --data MORE
    lmedge export runs/PHOTOGRAPHS --int8
    lmedge predict FILE.tflite IMAGE...
    lmedge camera FILE.tflite
    lmedge benchmark FILE.tflite --data PHOTOGRAPHS
    """  # noqa: D301  (click needs the control character)
    handler = logging.StreamHandler()
    handler.setFormatter(HarmlessFormatter("%(message)s"))
    if quiet:  # the console, never the log of a training
        handler.setLevel(logging.ERROR)
    show_progress(not quiet)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("lmedge").setLevel((logging.INFO, logging.DEBUG)[min(verbose, 1)])
    if verbose < 2:  # what a user cannot act on: for the log of a training, if there is one
        logging.captureWarnings(True)
        logging.getLogger(WARNINGS).propagate = False
    if verbose >= 2:
        os.environ.setdefault(TALK, "1")
    else:  # by default TensorFlow, OpenCV and matplotlib write to the terminal
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line; every LmedgeError is one line on standard error."""
    leave_working_folder()
    prepare_streams()
    try:
        result: Any = cli.main(args=arguments, prog_name="lmedge", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except click.ClickException as error:
        shown = io.StringIO()  # it quotes words of the command line
        error.show(shown)
        echo(shown.getvalue(), err=True, nl=False)
        code = error.exit_code
    except click.Abort:
        code = 130
    except LmedgeError as error:
        print_error(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except OSError as error:  # a full disk behind standard output, say
        print_error(LmedgeError(_place_and_reason(error)))
        code = 1
    sys.exit(code)


def _place_and_reason(error: OSError) -> str:
    return write_problem(error) if error.filename == STDOUT else f"cannot go on: {error}"

"""The state of a board's releases: which are good, and which one has yet to prove itself.

A new release runs as a *trial*. It becomes good if the camera's frames were classified for long
enough. Otherwise the board goes back to a release that was good. Everything that decides is here
and computes only; `store.py` keeps it on disk, so that a power cut at any moment changes nothing.
Times are seconds since the boot: a clock that jumps has no influence.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

STARTS = 3  # of a release on trial within one boot, after which it counts as a crash loop
BOOTS = 5  # boots of the system within one trial; a reboot alone is no failure
GRACE = 120.0  # seconds that a release on trial has besides those of the watch, by default
KEPT = 3  # releases that stay on the board


class Reason(enum.StrEnum):
    """The one reason for which a release was refused, or was left for the one before."""

    MACHINE = "machine"
    SPACE = "space"
    ENVIRONMENT = "environment"
    HASH = "hash"
    SIGNATURE = "signature"
    RUNTIME = "runtime too old"
    GOLDEN = "golden answers"
    SLOW = "too slow"
    CAMERA = "no camera"
    BUSY = "busy"
    SERVICE = "service"
    CRASH = "crash loop"
    MEMORY = "memory"
    FRAMES = "too few frames"
    DEADLINE = "not proved in time"
    HAND = "by hand"


class Result(enum.StrEnum):
    """The end of a deployment."""

    GOOD = "good"
    REFUSED = "refused"  # before anything was changed
    BACK = "went back"
    FAILED = "failed"  # with no good release to go back to


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probation:
    """A release that has yet to prove itself.

    Attributes:
        release: The release on trial.
        before: The release that ran before, if any.
        before_well: False if that one was not well when the trial began.
        watch: Seconds for which frames must have been classified.
        grace: Seconds that the trial has besides them.
        boot: The boot in which `deadline` and `starts` count.
        deadline: Seconds since that boot at which the trial has failed.
        starts: Starts of the release in that boot.
        boots: Boots of the system since the trial began.
        key: Text of the public key that the board learns if the release proves itself.
    """

    release: str
    before: str | None
    before_well: bool = True
    watch: float = 30.0
    grace: float = GRACE
    boot: str = ""
    deadline: float = 0.0
    starts: int = 0
    boots: int = 0
    key: str | None = None

    def started(self, boot: str, now: float) -> Probation:
        """Count a start. In another boot the deadline and the starts begin anew."""
        if boot == self.boot:
            return dataclasses.replace(self, starts=self.starts + 1)
        return dataclasses.replace(
            self, boot=boot, deadline=now + self.watch + self.grace, starts=1, boots=self.boots + 1
        )

    def failure(self, boot: str, now: float) -> Reason | None:
        """Return the reason if the trial has failed by its counts or its deadline."""
        if self.starts > STARTS or self.boots > BOOTS:
            return Reason.CRASH
        return Reason.DEADLINE if boot == self.boot and now > self.deadline else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of the last deployment, for people and programs.

    Attributes:
        release: The release it was about.
        result: Its end.
        reason: The reason, unless the result is GOOD.
        detail: One line on it.
        time: Seconds since 1970 by the board's clock, which may be wrong; nothing depends on it.
    """

    release: str
    result: Result
    reason: Reason | None = None
    detail: str = ""
    time: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """The releases that were good, newest first, the trial if there is one, and the last end."""

    good: tuple[str, ...] = ()
    trial: Probation | None = None
    last: Ending | None = None

    def proved(self, detail: str, time: int) -> State:
        """Return the state after the release on trial has proved itself."""
        assert self.trial is not None
        release = self.trial.release
        good = (release, *(one for one in self.good if one != release))
        ended = Ending(release=release, result=Result.GOOD, detail=detail, time=time)
        return State(good=good[:KEPT], last=ended)

    def target(self, present: frozenset[str]) -> str | None:
        """Return the good release to go back to from a trial, None if there is none.

        The one that ran before comes first, if it was ever good. Only releases in `present` count.
        """
        assert self.trial is not None
        usable = [one for one in self.good if one in present and one != self.trial.release]
        return self.trial.before if self.trial.before in usable else next(iter(usable), None)

    def condemned(self, reason: Reason, detail: str, time: int, target: str | None) -> State:
        """Return the state after the release on trial has failed; it is not good any more."""
        assert self.trial is not None
        trial = self.trial
        if not trial.before_well:
            detail += "; the release before was not well either"
        if target is None:
            detail += "; no release was ever good here, so it stays"
        ended = Ending(
            release=trial.release,
            result=Result.FAILED if target is None else Result.BACK,
            reason=reason,
            detail=detail,
            time=time,
        )
        good = tuple(one for one in self.good if one != trial.release)
        return State(good=good, last=ended)

    def refused(self, ending: Ending) -> State:
        """Return the state after a release was refused before anything changed."""
        return dataclasses.replace(self, last=ending)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


def state_of(found: Any) -> State:
    """Return the state in a value of JSON; raise ValueError if it holds none."""
    try:
        trial, last = found.get("trial"), found.get("last")
        good = tuple(map(_text, found.get("good", ())))
        return State(
            good=good,
            trial=None if trial is None else Probation(**_checked(Probation, trial)),
            last=None if last is None else ending_of(last),
        )
    except (AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"no state of releases ({error})") from error


def ending_of(found: Mapping[str, Any]) -> Ending:
    """Return the ending in an object of JSON; raise ValueError if it holds none."""
    values = _checked(Ending, found)
    reason = values.get("reason")
    return Ending(
        **{
            **values,
            "result": Result(values["result"]),
            "reason": None if reason is None else Reason(reason),
        }
    )


def _checked(kind: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a dataclass, each of the type that it names; others are left out."""
    values = {}
    for field in dataclasses.fields(kind):
        if field.name not in found:
            continue
        value = found[field.name]
        fits = {
            "str": isinstance(value, str),
            "float": isinstance(value, int | float) and not isinstance(value, bool),
            "int": isinstance(value, int) and not isinstance(value, bool),
            "bool": isinstance(value, bool),
            "str | None": value is None or isinstance(value, str),
        }.get(str(field.type), value is None or isinstance(value, str))
        if not fits:
            raise ValueError(f"{field.name} is {value!r}")
        values[field.name] = value
    return values


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no release")
    return value

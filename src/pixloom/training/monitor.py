"""The watchman: what the recorded signs of a run say of it, early. Pure functions; what the signs are is in ``training.signs``.

An alarm needs its evidence in two examinations running, so that one bad batch rings nothing; what no healthy run does at all rings at
once. The thresholds stand apart from the healthy
runs of the log, which are few; most of them were not tried on others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pixloom.data.inspect import FEW

NOT_TOGETHER = "pairs do not belong together"
NOTHING_SAID = "sources say nothing"
NOT_HELD = "the critic is not held"
NOT_FINITE = "numbers are not finite"
DIVERGED = "training has diverged"

Signs = Mapping[str, float]
"""One examination: ``images``, and a number for every sign that could be had."""

PATIENCE = 2
"""Examinations running in which the evidence must be there, unless a rule says otherwise."""

MANY = 5
"""Looks of which the mean is taken where one, of few pictures, says little."""


@dataclass(frozen=True)
class Setting:
    """What an alarm must know of the run.

    Attributes:
        total: images of the whole run.
        examples: that are learnt from.
        pretrained: images up to which the generator learns alone, from sources that are half hidden.
        detail_from_source: whether the finest detail of a picture is the source's, and not what the network makes.
    """

    total: int
    examples: int = 0
    pretrained: int = 0
    detail_from_source: bool = False

    def could_be_known(self, now: Signs) -> bool:
        """Whether every example was seen twice: before that a difference to held-out pictures is chance, and nothing known by heart."""
        return bool(now["images"] >= 2 * self.examples)


@dataclass(frozen=True)
class Alarm:
    """Something that goes wrong.

    Attributes:
        name: in :data:`RULES`.
        images: seen when it rang.
        evidence: a sentence with the numbers.
        remedies: what to do, the first one first.
    """

    name: str
    images: int
    evidence: str
    remedies: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """For the terminal."""
        return f"ALARM, {self.name}: {self.evidence}. Remedy: {', or '.join(self.remedies)}"


LOOSE = {
    "relativistic": (
        "relativistic pairing with neither R1 and R2 nor clipped gradients; with R1 alone it diverged (Huang et al., R3GAN, 2024)",
        ("training.clip_norm=1", "losses.r1_gamma=5 and losses.r2_gamma=5"),
    ),
    "wasserstein": (
        "a Wasserstein critic without a gradient penalty, whose slope must be near 1 (Gulrajani et al., 2017)",
        ("losses.gradient_penalty_weight=10", "losses.r1_gamma=5 and losses.r2_gamma=5"),
    ),
}
"""What is said of critics that are not held, and what helps, by adversarial term."""


def at_the_start(*, examples: int, different: int, complaint: str | None, silent: str | None = None, loose: str = "") -> list[Alarm]:
    """What can be said before anything is learnt.

    Args:
        examples: that are learnt from.
        different: of them.
        complaint: of :class:`pixloom.data.kinship.Kinship`, where the data holds pairs.
        silent: what it says of sources that are all alike.
        loose: the adversarial term, if neither the critic's slope nor its gradients are held though that term needs it.
    """
    found = []
    if loose:
        found.append(Alarm(NOT_HELD, 0, *LOOSE[loose]))
    if silent:
        found.append(Alarm(NOTHING_SAID, 0, silent, ("look at the sources with pixloom inspect --preview",)))
    if complaint:
        remedies = ("look at the pairs with pixloom inspect --preview", "a method for collections, --recipe cut")
        found.append(Alarm(NOT_TOGETHER, 0, complaint, remedies))
    if different < 0.9 * examples:
        remedy = "keep one of each; pixloom inspect names them"
        found.append(Alarm("pictures are repeated", 0, f"{examples:,} examples are {different:,} different ones", (remedy,)))
    if different < FEW:
        few = f"there are {different} different examples, from which hardly anything general can be learnt"
        found.append(Alarm("pictures are few", 0, few, ("more pictures", "losses.augment up", "a shorter run")))
    return found


See = Callable[[Signs, Sequence[Signs], Setting], str | None]
"""(an examination, those before it, the setting) -> the evidence, where there is any."""


@dataclass(frozen=True)
class Rule:
    """What is looked for, and what helps against it.

    Attributes:
        when: it rings, in words.
        see: finds the evidence.
        remedies: what helps.
        hides: whether it makes the rules after it meaningless.
        shown: whether a picture of sources, outputs and targets shows it.
        patience: examinations running in which the evidence must be there.
    """

    when: str
    see: See
    remedies: tuple[str, ...]
    hides: bool = False
    shown: bool = False
    patience: int = PATIENCE


def alarms(signs: Sequence[Signs], setting: Setting) -> list[Alarm]:
    """What the newest examinations say, each rule on its own.

    Args:
        signs: all examinations so far, oldest first.
        setting: of the run.

    >>> frozen = {"images": 100, "pace_critic": 0.0}
    >>> [alarm.name for alarm in alarms([frozen, {**frozen, "images": 200}], Setting(1000))]
    ['the critic stands still']
    """
    found = []
    for name, rule in RULES.items():
        newest = [rule.see(signs[place], signs[:place], setting) for place in range(max(0, len(signs) - rule.patience), len(signs))]
        if len(newest) == rule.patience and all(newest):
            found.append(Alarm(name, int(signs[-1]["images"]), str(newest[-1]), rule.remedies))
            if rule.hides:
                break
    return found


def shows(alarm: Alarm) -> bool:
    """Whether a picture of sources, outputs and targets shows what it is about.

    >>> shows(Alarm("outputs have a grid", 0, "", ())), shows(Alarm("the critic wins", 0, "", ()))
    (True, False)
    """
    return alarm.name == NOT_TOGETHER or (alarm.name in RULES and RULES[alarm.name].shown)


def evident(signs: Sequence[Signs], setting: Setting) -> set[str]:
    """The alarms for which the newest examination has evidence, whether they ring yet or not."""
    return {name for name, rule in RULES.items() if signs and rule.see(signs[-1], signs[:-1], setting)}


def first_evidence(alarm: Alarm, signs: Sequence[Signs], setting: Setting) -> int:
    """The images of the examination before the evidence of an alarm was first there without a break; 0 where it always was."""
    rule, start = RULES[alarm.name], 0
    for place in range(len(signs) - 1, -1, -1):
        if not rule.see(signs[place], signs[:place], setting):
            start = int(signs[place]["images"])
            break
    return start


def _diverged(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    spread, error, slope = now.get("spread", 1.0), now.get("error", 0.0), now.get("slope", 0.0)
    if spread > 1000:
        return f"outputs differ from source to source {spread:.2g} times as much as the targets do"
    if slope > 10_000:
        return f"the critic's slope at made pictures is {slope:.2g}, where that of healthy runs is about 1"
    return f"outputs are off by {error:.3g} on average, where values lie from -1 to 1" if error > 200 else None


def _not_finite(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    broken = [name for name, value in now.items() if isinstance(value, float) and not math.isfinite(value)]
    if broken:
        return f"of the signs of the last look {', '.join(broken)} {'is no number' if len(broken) == 1 else 'are no numbers'}"
    skipped = now.get("skipped", 0) - (before[-1].get("skipped", 0) if before else 0)
    return f"{skipped:.0f} steps were skipped since the last look" if skipped > 0 else None


def _saturated(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    share = now.get("ends", 0.0)
    return f"{share:.0%} of the output stands at the ends of the range, where the targets do not" if share > 0.5 else None


def _critic_wins(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    share, push = now.get("ahead", 0.5), now.get("push", 0.0)
    if share <= 0.995 or push > 1:
        return None
    return f"it ranks real above made at {share:.1%} of all places, and pushes no more than an L1 term of weight {push:.2g}"


def _critic_useless(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    share, push = now.get("ahead", 1.0), now.get("push", 1.0)
    if share > 0.55 or push > 0.05:
        return None
    return f"it ranks real above made at {share:.0%} of all places, and pushes no more than an L1 term of weight {push:.2g}"


def _memorises(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    looks = [look for look in (*before[1 - MANY :], now) if "ahead_held_out" in look and setting.could_be_known(look)]
    if len(looks) < MANY:
        return None
    known, unseen = (sum(look[name] for look in looks) / MANY for name in ("ahead", "ahead_held_out"))
    return (
        f"in {MANY} looks it ranked real above made at {known:.0%} of places of pictures that are learnt from, at {unseen:.0%} of others"
        if known - unseen > 0.3
        else None
    )


def _slope(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    usual = sorted(sign["slope"] for sign in before if "slope" in sign)
    if "slope" not in now or not usual:
        return None
    middle = usual[len(usual) // 2]
    return f"its slope at made pictures is {now['slope']:.3g}, in the middle it was {middle:.3g}" if now["slope"] > 10 * middle else None


def _no_push(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    push = now.get("push", 1.0)
    return f"it pushes no more than an L1 term of weight {push:.2g}" if push < 1e-3 else None


def _collapsed(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    alone = now["images"] <= setting.pretrained  # from half a source L1 makes much the same at first
    if alone or now.get("source_spread", 1.0) < 0.01 or "spread" not in now:
        return None
    return f"outputs differ from source to source {now['spread']:.0%} as much as the targets do" if now["spread"] < 0.05 else None


def _one_answer(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    return f"two draws of z change {now['answers']:.1%} of what targets differ by" if now.get("answers", 1.0) < 0.01 else None


def _noisy(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    return f"outputs have {10 ** now['fine']:.1f} times the finest detail of the targets" if now.get("fine", 0.0) > 0.7 else None


def _grid(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    return f"periods of 2, 4 or 8 pixels stand out by {now['grid']:.0f} dB more than in the targets" if now.get("grid", 0.0) > 10 else None


def _blurred(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    late = now["images"] > 0.5 * setting.total
    asked = "push" not in now or setting.detail_from_source  # without a critic a blur is what was asked for
    if not late or asked or now.get("fine", 0.0) > -1.0:
        return None
    return f"outputs have {10 ** now['fine']:.0%} of the finest detail of the targets"


def _known_by_heart(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    if "error_held_out" not in now or now["error"] <= 0 or not setting.could_be_known(now):
        return None
    ratio = now["error_held_out"] / now["error"]
    return f"the error on held-out pictures is {ratio:.1f} times that on pictures that are learnt from" if ratio > 2 else None


def _says_nothing(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    spread = now.get("source_spread", 1.0)
    return f"they differ by {spread:.4f} of a range from -1 to 1" if spread < 0.005 else None


def _stands_still(which: str) -> See:
    def see(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
        pace = now.get(f"pace_{which}", 1.0)
        return f"an update moves its weights by {pace:.1e} of their size" if pace < 1e-6 else None

    return see


def _too_fast(now: Signs, before: Sequence[Signs], setting: Setting) -> str | None:
    fast = {which: now[f"pace_{which}"] for which in ("generator", "critic") if now.get(f"pace_{which}", 0.0) > 0.2}
    return " and ".join(f"an update moves the {which}'s weights by {pace:.0%} of their size" for which, pace in fast.items()) or None


RULES: dict[str, Rule] = {
    DIVERGED: Rule(
        "at once: outputs differ from source to source a thousand times as much as targets do, or are off by more than 200, or the "
        "critic's slope at made pictures is above 10,000",
        _diverged,
        ("the recipe's learning rates, or a tenth of them", "training.clip_norm=1"),
        hides=True,
        shown=True,
        patience=1,
    ),
    NOT_FINITE: Rule(
        "a sign is no number, or steps were skipped since the last look",
        _not_finite,
        ("the recipe's learning rates, or a tenth of them", "compute.precision=no where it is bf16"),
        hides=True,
    ),
    NOTHING_SAID: Rule(
        "sources deviate from each other by less than 0.005",
        _says_nothing,
        ("look at the sources with pixloom inspect --preview",),
        hides=True,
        shown=True,
    ),
    "weights move too fast": Rule(
        "an update moves a network's weights by more than a fifth of their size",
        _too_fast,
        ("the recipe's learning rates, or a tenth of them",),
    ),
    "outputs are saturated": Rule(
        "half of the output stands at the ends of the range where the targets do not, by more than 0.2",
        _saturated,
        ("the recipe's learning rates, or a tenth of them", "training.clip_norm=1"),
        hides=True,
        shown=True,
    ),
    "the critic stands still": Rule(
        "an update moves its weights by less than a millionth of their size",
        _stands_still("critic"),
        ("the recipe's critic_optimizer.learning_rate",),
        hides=True,
    ),
    "the generator stands still": Rule(
        "the same of the generator", _stands_still("generator"), ("the recipe's generator_optimizer.learning_rate",), hides=True
    ),
    "the critic wins": Rule(
        "real is ranked above made at more than 99.5 % of all places, and it pushes less than an L1 term of weight 1",
        _critic_wins,
        ("losses.r1_gamma and losses.r2_gamma up on a critic without batch norm", "losses.augment up"),
    ),
    "the critic is useless": Rule(
        "real is ranked above made at 55 % of all places or fewer, and it pushes less than an L1 term of weight 0.05",
        _critic_useless,
        ("losses.r1_gamma and losses.r2_gamma down", "critic_optimizer.learning_rate up"),
    ),
    "the critic knows its pictures by heart": Rule(
        f"after two passes, in the mean of {MANY} looks: it ranks right at 30 % more of the places of pictures that are learnt from than "
        "of held-out ones",
        _memorises,
        ("losses.augment up", "more pictures"),
    ),
    "the critic's slope explodes": Rule(
        "its slope at made pictures is ten times its median so far",
        _slope,
        ("losses.r1_gamma=5 and losses.r2_gamma=5 on a critic without batch norm",),
    ),
    "the generator learns nothing from the critic": Rule(
        "it pushes less than an L1 term of weight 0.001", _no_push, ("losses.adversarial=relativistic", "losses.adversarial_weight up")
    ),
    "outputs are all alike": Rule(
        "outputs differ from source to source by less than 5 % of what targets do, while sources differ; not while pretraining",
        _collapsed,
        ("the recipe's learning rates, or a tenth of them", "losses.pixel_weight up"),
        shown=True,
    ),
    "noise changes nothing": Rule(
        "two draws of z change less than 1 % of what targets differ by",
        _one_answer,
        ("--recipe bicycle", "losses.mode_seeking_weight=1 in another recipe"),
    ),
    "outputs are noisy": Rule(
        "the finest octave has five times the power that it has in targets",
        _noisy,
        ("losses.pixel_weight up", "a longer run"),
        shown=True,
    ),
    "outputs have a grid": Rule(
        "periods of 2, 4 or 8 pixels stand out by 10 dB more than in targets",
        _grid,
        ("generator.name=residual_unet, which has low-pass filters",),
        shown=True,
    ),
    "outputs are blurred": Rule(
        "in the second half of a run: the finest octave has less than a tenth of the power that it has in targets; not of colours that are "
        "put beside the source's lightness",
        _blurred,
        ("losses.adversarial_weight up", "losses.pixel_weight down"),
        shown=True,
    ),
    "pictures are known by heart": Rule(
        "after two passes: the error on held-out pictures is twice that on pictures that are learnt from",
        _known_by_heart,
        ("more pictures", "losses.augment up", "a shorter run"),
        shown=True,
    ),
}
"""Every alarm by name."""

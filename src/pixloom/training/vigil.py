"""What the watchman has seen of a run, and when it looks again."""

from __future__ import annotations

from collections.abc import Iterable

from pixloom.training.autopilot import COOLDOWN, SNAPSHOTS, sound
from pixloom.training.engine import Engine
from pixloom.training.examiner import Examiner
from pixloom.training.history import Entry
from pixloom.training.learner import Learner
from pixloom.training.monitor import PATIENCE, Alarm, Setting, alarms, evident, first_evidence
from pixloom.training.plan import Plan
from pixloom.training.schedule import round_up
from pixloom.training.state import Progress


class Vigil:
    """Looks at a learner now and then, and keeps what was seen.

    Args:
        plan: of the run, whose number of images is decided.
        engine: of the run.
    """

    def __init__(self, plan: Plan, engine: Engine) -> None:
        training = plan.config.training
        assert training.images is not None, "the plan decides the number of images"
        self.plan, self.engine = plan, engine
        self.total, self.batch = training.images, training.batch_size
        pretrained = round(training.pretrain_share * self.total)
        detail = plan.task.detail_from_source
        self.setting = Setting(self.total, examples=len(plan.train), pretrained=pretrained, detail_from_source=detail)
        self.looks = list[Entry]()
        self.examiner: Examiner

    def begin_stage(self, *, size: int) -> None:
        """Look at crops of this size from now on."""
        self.examiner = Examiner(self.plan, self.engine, size=size)

    def take_up(self, entries: Iterable[Entry]) -> None:
        """The looks of before, among all that was recorded."""
        self.looks = [entry for entry in entries if entry["kind"] == "signs"]

    def forget_after(self, images: int) -> None:
        """Drop the looks of a time that the run has gone back on."""
        self.looks = [look for look in self.looks if look["images"] <= images]

    def is_due(self, before: Progress, progress: Progress) -> bool:
        """Whether to look: now and then, and at the end unless that was a moment ago."""
        every, last = self.examiner.every, self.looks[-1]["images"] if self.looks else 0
        at_the_end = progress.images >= self.total and progress.images - last >= every // 2
        return at_the_end or progress.images // every > before.images // every

    def look(self, learner: Learner, progress: Progress) -> tuple[Entry, list[Alarm], list[Alarm]]:
        """The signs as an entry of the history, the alarms that they ring, and those among them that did not ring before."""
        place = {"images": progress.images, "kind": "signs", "elapsed_seconds": progress.elapsed_seconds}
        counted = {"skipped": progress.skipped_steps, "augment": learner.config.losses.augment}
        former = {alarm.name for alarm in alarms(self.looks, self.setting)}
        self.looks.append(place | self.examiner.signs(learner) | counted)
        found = alarms(self.looks, self.setting)
        return self.looks[-1], found, [alarm for alarm in found if alarm.name not in former]

    @property
    def was_short(self) -> bool:
        """Whether most alarms could not ring."""
        return len(self.looks) < PATIENCE

    @property
    def sound_images(self) -> int:
        """Images seen at the last look that showed nothing to go back on; 0 before the first."""
        for end in range(len(self.looks), 0, -1):
            newest = self.looks[end - 1]
            if sound(evident(self.looks[:end], self.setting), newest):
                return int(newest["images"])
        return 0

    def is_landmark(self, progress: Progress) -> bool:
        """Whether this look is one that the autopilot may go back to: some twenty of a run, if they show nothing to go back on."""
        every = round_up(max(self.examiner.every, self.total // SNAPSHOTS), self.examiner.every)
        return progress.images % every < self.batch and self.sound_images == progress.images

    def has_rested(self, progress: Progress) -> bool:
        """Whether the last remedy had time to act."""
        return progress.remedies == 0 or progress.images - progress.remedied_images >= COOLDOWN * self.examiner.every

    def well_until(self, alarm: Alarm) -> int:
        """Images up to which nothing pointed to an alarm, nor to anything else that a run would go back on."""
        return min(first_evidence(alarm, self.looks, self.setting), self.sound_images)

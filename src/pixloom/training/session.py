"""Everything around the steps of a run: what is recorded, shown, judged and saved, and when."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from pixloom.config import ComputeConfig, override
from pixloom.data.batch import Batch, on_device
from pixloom.data.loading import Pictures, training_batches
from pixloom.data.resident import resident_batches, resident_bytes
from pixloom.errors import TrainingError
from pixloom.evaluation import Evaluation
from pixloom.files import write_text, writing
from pixloom.heap import heap_as_usual
from pixloom.nets.team import acting
from pixloom.training.autopilot import GRAVE, adapted, remedy
from pixloom.training.autopilot import MOST as MOST_REMEDIES
from pixloom.training.engine import Engine
from pixloom.training.folder import RunFolder, describe_environment, describe_machine, peak_memory_bytes
from pixloom.training.history import History, read, rung, truncate_after
from pixloom.training.learner import Learner
from pixloom.training.lookover import look_over
from pixloom.training.monitor import NOT_FINITE, RULES, Alarm, shows
from pixloom.training.plan import Plan, digest, load_examples, load_pictures
from pixloom.training.report import write_report
from pixloom.training.schedule import interval, size_at, stage_ends
from pixloom.training.startfrom import begin_with, lineage
from pixloom.training.state import Progress, forget_checkpoints, newest_checkpoint, save_checkpoint
from pixloom.training.status import Status, now_and_then
from pixloom.training.tensorboard import Writer, open_writer
from pixloom.training.terms import STATE, Terms
from pixloom.training.twin import as_good
from pixloom.training.vigil import Vigil
from pixloom.training.watch import Watch

MAX_ROLLBACKS = 3

CHECKPOINT_SECONDS = 300
"""What a crash may cost where ``training.checkpoint_every_images`` does not say it in images; a checkpoint takes seconds."""

COMMON_METRICS = ("lpips", "psnr", "ssim", "colourfulness")
"""What the status line tells of a validation beside the task's own measures."""

LEARNT_PER_JUDGED = 8
"""So many images are learnt from for each that a validation judges, so that all validations take a few per cent of the run."""

GIB = 2**30

State = Literal["finished", "out of time", "interrupted"]


@dataclass(frozen=True)
class RunResult:
    """How a training ended.

    Attributes:
        folder: the run folder.
        model: the best model, if one was written.
        state: finished, out of time (the minutes were used up before the planned images), or interrupted.
        signal: the signal that interrupted it.
        images: images seen.
        metrics: of the last validation.
        evaluation: the full judgement of the best model at the end.
        preview: the last preview grid: source, output, target.
        alarms: what rang, and what the autopilot did, as sentences.
    """

    folder: Path
    model: Path | None
    state: State
    images: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    signal: int | None = None
    evaluation: Evaluation | None = None
    preview: Path | None = None
    alarms: tuple[str, ...] = ()


class Session:
    """Everything around the steps of one process's share of a run: what is recorded, shown, judged and saved, and when."""

    def __init__(self, plan: Plan, folder: RunFolder, engine: Engine, *, quiet: bool, more_minutes: float | None = None) -> None:
        config = plan.config
        assert config.training.images is not None, "the plan decides the number of images"
        self.plan, self.folder, self.engine, self.more_minutes = plan, folder, engine, more_minutes
        self.total_images = config.training.images
        self.bad: dict[str, str] = {}
        self.learner = Learner(config, channels=plan.network_channels, engine=engine)
        self.watch = Watch(plan, folder, device=engine.device)
        self.history = History(folder.history)
        self.writer: Writer | None = None
        self.stream = None if quiet or not engine.is_main else sys.stderr
        self.status = Status(self.total_images, stream=self.stream)
        self.terms = Terms()
        self.metrics: dict[str, float] = {}
        self.vigil = Vigil(plan, engine)
        self.clock, self.budget_seconds = time.monotonic(), 60 * (config.training.minutes or math.inf)
        self.saved_images = self.judged_images = -1
        self.saved_seconds = 0.0
        order, judged = {"total": self.total_images, "batch": config.training.batch_size}, len(self.watch.examples)
        self.preview_every = interval(config.training.preview_every_images, times=20, **order)
        self.validate_every = interval(config.training.validate_every_images, times=10, least=LEARNT_PER_JUDGED * judged, **order)

    @property
    def machine(self) -> dict[str, Any]:
        """What bit-exactness depends on."""
        return describe_machine(device=self.engine.device, world_size=self.engine.world_size, compute=self.engine.compute)

    # ---- beginning and end

    def take_up(self) -> Progress:
        """Start at the newest whole checkpoint, or at the beginning."""
        checkpoint, complaints = newest_checkpoint(self.folder.checkpoints, identity=self.identity)
        progress = Progress()
        if checkpoint is not None:
            if checkpoint.progress.settings:
                self._build(checkpoint.progress.settings)
            self.learner.restore(checkpoint)
            self.terms.restore(checkpoint, device=self.engine.device)
            progress, self.saved_images = checkpoint.progress, checkpoint.progress.images
            changed = [key for key, value in self.machine.items() if checkpoint.machine.get(key) != value]
            if changed:
                complaints.append(f"not bit for bit as before: this machine has other {', '.join(changed)}")
        if self.more_minutes is not None:
            self.budget_seconds = progress.elapsed_seconds + 60 * self.more_minutes
        self.status = Status(
            self.total_images,
            stream=self.stream,
            start_images=progress.images,
            start_seconds=progress.elapsed_seconds,
            budget_seconds=self.budget_seconds,
        )
        self.clock = time.monotonic() - progress.elapsed_seconds
        self.vigil.take_up(entry for entry in read(self.folder.history) if entry["images"] <= progress.images)
        self.saved_seconds = progress.elapsed_seconds
        if self.engine.is_main:
            self._begin_records(progress, resumed=checkpoint is not None)
        for complaint in complaints:
            self.tell("warning", progress, complaint)
        self.engine.wait()
        if checkpoint is not None:
            return progress
        self._begin(progress)
        return self._look_over(progress)

    def _begin(self, progress: Progress) -> None:
        """With another model's weights, where that is wished for."""
        model = self.plan.config.training.from_model
        if model is not None:
            if self.engine.is_main:
                self.folder.keep_lineage(lineage(model))
            self.tell("began", progress, begin_with(self.learner, model))

    def close(self, progress: Progress, *, signal_number: int | None) -> RunResult:
        """Leave the run in order: checkpoint, model, judgement, report."""
        finished = signal_number is None
        evaluation: Evaluation | None = None
        sound = not self.engine.any_process(not self.learner.is_finite())
        if finished and sound and self.judged_images != progress.images:  # stopped by the clock, between two validations
            self._preview(progress)
            progress = self._validate(progress)
        if sound and self.saved_images != progress.images:
            self.save(progress)
        if sound and self.engine.is_main and not self.folder.model.is_dir():
            self.watch.save_model(self.learner.best_generator, progress, folder=self.folder.model, back=self.learner.best_return)
        if self.engine.is_main:
            if finished:
                if sound:
                    last, back = self.folder.last_model, self.learner.best_return
                    self.watch.save_model(self.learner.best_generator, progress, folder=last, back=back)
                else:
                    self.tell("warning", progress, "the last weights are not finite, so that there is no model-last")
                self._tell_how_it_ended(progress)
                if len(self.watch.examples):
                    self.status.message("judging the model on held-out pictures ...")
                with heap_as_usual():
                    evaluation = self.watch.final_evaluation(told=now_and_then(self.status.message))
                if evaluation is not None and (alarm := as_good(self.folder.root)) is not None:
                    self._ring(alarm, progress)
            last_size = self.plan.config.data.size
            if finished and size_at(max(0, progress.images - 1), self.plan.config.data, total=self.total_images) < last_size:
                self.tell(
                    "warning", progress, f"the time was up before any training at {last_size} px: the model has seen smaller crops only"
                )
            event, sentence = (
                ("finished", "training is finished")
                if finished
                else ("interrupted", f"stopped and saved; go on with: pixloom resume {self.folder.root}")
            )
            self.tell(event, progress, sentence)
            self._write_bad_files()
            write_report(self.folder.root, final=True)
            if self.writer is not None:
                self.writer.close()
        self.status.close()
        self.engine.wait()
        return RunResult(
            folder=self.folder.root,
            model=self.folder.model if self.folder.model.is_dir() else None,
            state="interrupted" if not finished else "finished" if progress.images >= self.total_images else "out of time",
            images=progress.images,
            metrics=self.metrics,
            signal=signal_number,
            evaluation=evaluation,
            preview=max(self.folder.samples.glob("*.png"), default=None),
            alarms=tuple(dict.fromkeys(rung(read(self.folder.history)))),
        )

    def _tell_how_it_ended(self, progress: Progress) -> None:
        """What a reader of the figures must know of how the run went, before they are there."""
        if progress.images < self.total_images:
            self.tell(
                "out of time",
                progress,
                f"out of time after {progress.images:,} of {self.total_images:,} images: a busy machine, or previews and validation, took "
                f"the rest of the minutes; give it more with: pixloom resume {self.folder.root} --minutes 5",
            )
        if self.vigil.was_short:
            self.tell("hardly watched", progress, "so short a run is hardly watched: most of what goes wrong in it rings no alarm")

    def roll_back(self, progress: Progress, why: str) -> Progress:
        """Return to the last checkpoint (or the beginning) with half the learning rate.

        Raises:
            TrainingError: it has been done too often.
        """
        alarm = Alarm(NOT_FINITE, progress.images, why, RULES[NOT_FINITE].remedies)
        self._ring(alarm, progress)
        if self.plan.config.training.autopilot:
            mended = self._mend([alarm], progress, start=progress.images)
            if mended.remedies > progress.remedies:
                return mended
        if progress.halvings >= MAX_ROLLBACKS:
            raise TrainingError(
                "the losses stay non-finite",
                where=self.folder.root,
                why=f"{MAX_ROLLBACKS} returns to the last checkpoint with half the learning rate did not help",
                fix="look at the data with pixloom inspect, and train anew with lower learning rates: "
                "--set generator_optimizer.learning_rate=5e-5 --set critic_optimizer.learning_rate=5e-5",
            )
        again = self._return(progress, learning_rate_scale=progress.learning_rate_scale / 2)
        done = f"back to {again.images:,} images with half the learning rate"
        self._tell_done("rollback", alarm, done, at=again)
        return again

    def _return(self, progress: Progress, **changes: Any) -> Progress:
        """Take up the newest checkpoint, or the beginning, with what the run has learnt of itself since."""
        checkpoint, _ = newest_checkpoint(self.folder.checkpoints, identity=self.identity)
        start = Progress() if checkpoint is None else checkpoint.progress
        again = replace(
            progress,
            images=start.images,
            step=start.step,
            skipped_steps=start.skipped_steps,
            bad_steps=0,
            rollbacks=progress.rollbacks + 1,
            remedied_images=min(progress.remedied_images, start.images),
        )
        again = replace(again, **changes)
        self._build(again.settings)
        if checkpoint is not None:
            self.learner.restore(checkpoint)
        else:
            self._begin(start)
        if self.engine.is_main:
            truncate_after(self.folder.history, start.images, deeds=progress.deeds)
            self.folder.forget_after(start.images)
        self.vigil.forget_after(start.images)
        self.terms.restore(checkpoint, device=self.engine.device)
        return again

    def _build(self, settings: Mapping[str, Any]) -> None:
        """A learner by the settings of the run and those that were changed on the way, some of which shape its networks."""
        config = override(self.plan.config, settings)
        if config.compute != self.engine.compute:
            self.engine = Engine(config)
        self.learner = Learner(config, channels=self.plan.network_channels, engine=self.engine)

    # ---- between steps

    def batches(self, start_image: int) -> Generator[Batch, None, None]:
        """This process's batches from an image on, of the size of its stage."""
        training, data = self.plan.config.training, self.plan.config.data
        size, device = size_at(start_image, data, total=self.total_images), self.engine.device
        resident = stays_on(device, self.plan, size=size)
        pictures = load_examples(self.plan, size=size, cache_gib=0.0 if resident else data.cache_gib)
        pictures.bad = self.bad
        order: dict[str, Any] = {
            "batch_size": training.batch_size,
            "seed": training.seed,
            "start_image": start_image,
            "size": size,
            "flip": data.flip,
            "rank": self.engine.rank,
            "world_size": self.engine.world_size,
        }
        if isinstance(pictures, Pictures) and resident:
            return resident_batches(pictures, device=device, **order)
        return on_device(training_batches(pictures, **order), device=device)

    def begin_stage(self, progress: Progress) -> int:
        """The image at which a larger size begins, or the run ends; a run that grows says so."""
        data = self.plan.config.data
        ends = stage_ends(data, total=self.total_images, batch=self.plan.config.training.batch_size)
        end = min((end for end in ends if end > progress.images), default=self.total_images)
        size = size_at(progress.images, data, total=self.total_images)
        self.vigil.begin_stage(size=size)
        if len(ends) > 1:
            self.tell("size", progress, f"training at {size} px until image {end:,}")
        return end

    def advance(self, progress: Progress) -> Progress:
        """One step further."""
        return replace(
            progress,
            images=progress.images + self.plan.config.training.batch_size,
            step=progress.step + 1,
            elapsed_seconds=time.monotonic() - self.clock,
        )

    def attend(self, before: Progress, progress: Progress, rates: Mapping[str, float]) -> Progress:
        """Do what has come due with this step: log, preview, validation, checkpoint."""
        previews, validates, saves, logs = self._dues(before, progress)
        if logs:
            self._log(before, progress, rates)
        saves = saves or ((previews or validates or logs) and self.engine.any_process(self._has_long_not_saved(progress)))
        if (previews or validates or saves) and self.engine.any_process(not self.learner.is_finite()):
            return self.roll_back(progress, "weights, or the moments of their updates, were not finite")
        if self.vigil.is_due(before, progress):
            progress = self._examine(progress)
            if progress.rollbacks > before.rollbacks:
                return progress
            saves = saves or self._is_landmark(progress)
        if previews:
            self._preview(progress)
        if validates:
            progress = self._validate(progress)
        if saves:
            self.save(progress)
        self.status.update(progress.images)
        return progress

    def is_due(self, before: Progress, progress: Progress) -> bool:
        """Whether something has come due with this step."""
        return any(self._dues(before, progress))

    def _dues(self, before: Progress, progress: Progress) -> tuple[bool, bool, bool, bool]:
        """Whether a preview, a validation, a checkpoint, a log entry has come due with this step."""
        first, last = before.images == 0, progress.images >= self.total_images

        def due(every: int) -> bool:
            return last or progress.images // every > before.images // every

        setting = self.plan.config.training
        alone = self.engine.world_size == 1  # several processes ask each other where they meet anyway, in attend
        timed = last or (alone and self._has_long_not_saved(progress))
        saves = timed if setting.checkpoint_every_images is None else due(setting.checkpoint_every_images)
        return first or due(self.preview_every), due(self.validate_every), saves, due(setting.log_every_images)

    def _has_long_not_saved(self, progress: Progress) -> bool:
        """Whether, without a setting that says it in images, it is time for a checkpoint."""
        unset = self.plan.config.training.checkpoint_every_images is None
        return unset and progress.elapsed_seconds - self.saved_seconds >= CHECKPOINT_SECONDS

    def save(self, progress: Progress) -> None:
        """Write a checkpoint."""
        if self.engine.is_main:
            save_checkpoint(
                self.folder.checkpoints,
                progress=progress,
                states={**self.learner.states(), STATE: self.terms.state()},
                identity=self.identity,
                machine=self.machine,
                keep=self.plan.config.training.keep_checkpoints,
                hold=self.vigil.sound_images if self.plan.config.training.autopilot else None,
            )
            self._write_bad_files()
            write_report(self.folder.root, final=False)
        self.saved_images, self.saved_seconds = progress.images, time.monotonic() - self.clock
        self.status.checkpoint_saved()
        self.engine.wait()

    def out_of_time(self, progress: Progress) -> bool:
        """Whether the time given with --minutes is used up (on any process, so that all stop together)."""
        return self.budget_seconds < math.inf and self.engine.any_process(progress.elapsed_seconds >= self.budget_seconds)

    def tell(self, event: str, progress: Progress, sentence: str, **told: str | int) -> None:
        """Record an event, with what else is told of it, and print its sentence."""
        if self.engine.is_main:
            place = {"images": progress.images, "elapsed_seconds": progress.elapsed_seconds}
            self.history.append("event", **place, event=event, message=sentence, **told)  # type: ignore[arg-type]
            self.status.message(sentence)

    @property
    def identity(self) -> str:
        """What a checkpoint must agree on: the settings that shape the weights, and the data."""
        config = self.plan.config
        tree = config.model_dump(
            exclude={
                "data": {"path", "cache_gib", "device_gib"},
                "training": {"minutes", "keep_checkpoints", "log_every_images"},
                "compute": set(ComputeConfig.model_fields) - {"precision", "accumulate"},
            }
        )
        return f"{self.plan.fingerprint}-{digest(json.dumps(tree, sort_keys=True))}"

    # ---- records

    def _begin_records(self, progress: Progress, *, resumed: bool) -> None:
        environment = describe_environment(device=self.engine.device, world_size=self.engine.world_size, compute=self.engine.compute)
        self.folder.describe(data=describe_data(self.plan), environment=environment)
        truncate_after(self.folder.history, progress.images, deeds=progress.deeds)
        self.folder.forget_after(progress.images)
        self.writer = open_writer(self.folder.root, resume_images=progress.images if resumed else None)
        if resumed:
            self.tell("resumed", progress, f"resumed at {progress.images:,} of {self.total_images:,} images")
        else:
            with writing("the history", self.folder.history):
                self.folder.history.write_text("", encoding="utf-8")
            self.history.append(
                "event", images=0, elapsed_seconds=0.0, event="started", message="training started", total_images=self.total_images
            )

    def _look_over(self, progress: Progress) -> Progress:
        """Ring for what data and settings tell before anything is learnt, and mend it where that is wished for."""
        found = look_over(self.plan)
        for alarm in found:
            self._ring(alarm, progress)
        return self._mend(found, progress) if self.plan.config.training.autopilot else progress

    def _log(self, before: Progress, progress: Progress, rates: Mapping[str, float]) -> None:
        means = self.terms.means(self.engine)
        if not self.engine.is_main:
            return
        self.status.update(progress.images, losses=means, peak_memory_bytes=peak_memory_bytes(self.engine.device))
        speed = self.status.progress.images_per_second
        extra = {} if speed is None else {"images_per_second": speed}
        entry = self.history.append(
            "losses", images=progress.images, elapsed_seconds=progress.elapsed_seconds, **means, learning_rate=dict(rates), **extra
        )
        if self.writer is not None:
            self.writer.record(entry)

    def _examine(self, progress: Progress) -> Progress:
        """Take the vital signs, ring for what has gone wrong since the last look, and mend it where that is wished for."""
        signs, found, new = self.vigil.look(self.learner, progress)
        if self.engine.is_main:
            self.history.append(**signs)
        for alarm in new:
            self._ring(alarm, progress)
        progress = self._adapt(progress, signs)
        urgent = found if self.vigil.has_rested(progress) else [alarm for alarm in found if alarm.name in GRAVE]
        return self._mend(urgent, progress) if urgent and self.plan.config.training.autopilot else progress

    def _is_landmark(self, progress: Progress) -> bool:
        """Whether a checkpoint is to be written for the autopilot to go back to."""
        wanted = self.plan.config.training.autopilot and self.vigil.is_landmark(progress)
        return wanted and not self.engine.any_process(not self.learner.is_finite())

    def _adapt(self, progress: Progress, signs: Mapping[str, float]) -> Progress:
        """Adaptive augmentation, where it is wished for."""
        losses = self.learner.config.losses
        if losses.augment_gap is None or "ahead_held_out" not in signs:
            return progress
        settings = {**progress.settings, "losses.augment": adapted(losses.augment, signs, gap=losses.augment_gap)}
        self.learner.retune(override(self.plan.config, settings))
        return replace(progress, settings=settings)

    def _mend(self, found: list[Alarm], progress: Progress, *, start: int | None = None) -> Progress:
        """What the autopilot does, see ``training.autopilot``.

        Args:
            found: what rings.
            progress: where the run stands.
            start: images up to which all was well; None: as the signs say.
        """
        channels = self.plan.network_channels
        chosen = remedy(found, self.learner.config, channels=channels) if progress.remedies < MOST_REMEDIES else None
        if chosen is None:
            return progress
        alarm, change = chosen
        settings = {**progress.settings, **change.settings}
        changes: dict[str, Any] = {"settings": settings, "remedies": progress.remedies + 1, "remedied_images": progress.images}
        if change.back:
            start = self.vigil.well_until(alarm) if start is None else start
            if self.engine.is_main:
                forget_checkpoints(self.folder.checkpoints, after=start)
            self.engine.wait()
            after = self._return(progress, **changes)
            after = replace(after, remedied_images=after.images)
        else:
            after = replace(progress, **changes)
            self.learner.retune(override(self.plan.config, settings))
        words = ", ".join(f"{key}={value}" for key, value in change.settings.items())
        where = f"back to {after.images:,} images with " if change.back else ""
        self._tell_done("autopilot", alarm, f"{where}{words} (remedy {after.remedies} of {MOST_REMEDIES})", at=after)
        return after

    def _tell_done(self, event: str, alarm: Alarm, done: str, *, at: Progress) -> None:
        """What was done against an alarm, and its reason, which is forgotten with the time that the run has gone back on."""
        evidence = f"{alarm.evidence}, at {alarm.images:,} images"
        self.tell(event, at, f"{alarm.name}, {evidence}: {done}", alarm=alarm.name, evidence=evidence, done=done, deed=at.deeds)

    def _ring(self, alarm: Alarm, progress: Progress) -> None:
        if not self.engine.is_main:
            return
        place = {"images": progress.images, "elapsed_seconds": progress.elapsed_seconds}
        told: dict[str, Any] = {"alarm": alarm.name, "evidence": alarm.evidence, "remedies": list(alarm.remedies)}
        if shows(alarm):
            with heap_as_usual():
                told["picture"] = self.watch.alarm(alarm, acting(self.learner.generator))
        self.history.append("event", **place, event="alarm", message=alarm.sentence, **told)  # type: ignore[arg-type]
        seen = f" (picture: {self.folder.root / told['picture']})" if "picture" in told else ""
        self.status.message(alarm.sentence + seen)

    def _preview(self, progress: Progress) -> None:
        if self.engine.is_main:
            with heap_as_usual():
                grid = self.watch.preview(self.learner.best_generator, progress)
            if self.writer is not None:
                self.writer.preview(progress.images, grid)
            write_report(self.folder.root, final=False)

    def _validate(self, progress: Progress) -> Progress:
        best = progress.best_value, progress.best_images
        if self.engine.is_main:
            with heap_as_usual():
                self.metrics, value = self.watch.validate(self.learner.best_generator)
            if self.watch.is_better(value, progress.best_value):
                back = self.learner.best_return
                self.watch.save_model(self.learner.best_generator, progress, folder=self.folder.model, metrics=self.metrics, back=back)
                best = value, progress.images
            if self.metrics:
                entry = self.history.append(
                    "validation",
                    images=progress.images,
                    elapsed_seconds=progress.elapsed_seconds,
                    **self.metrics,
                    protocol=self.watch.protocol,
                )
                told = (*COMMON_METRICS, *self.plan.task.measures)
                self.status.update(progress.images, metrics={name: value for name, value in self.metrics.items() if name in told})
                if self.writer is not None:
                    self.writer.record(entry)
        self.judged_images = progress.images
        self.engine.wait()
        return replace(progress, best_value=best[0], best_images=best[1])

    def _write_bad_files(self) -> None:
        bad = self.bad | self.watch.bad
        if bad:
            write_text(self.folder.root / "bad_files.json", json.dumps(bad, indent=1, ensure_ascii=False))


def stays_on(device: torch.device, plan: Plan, *, size: int) -> bool:
    """Whether the examples are kept on the device: on CUDA, when they all fit in ``data.device_gib``."""
    if device.type != "cuda" or not plan.task.pixelwise or plan.conditions.kinds or plan.unpaired:
        return False
    return resident_bytes(load_pictures(plan, size=size, cache_gib=0.0)) <= plan.config.data.device_gib * GIB


def describe_data(plan: Plan) -> dict[str, Any]:
    """The data summary that the report shows."""
    listing = plan.listing
    return {
        "path": str(listing.root),
        "layout": listing.layout,
        "examples": {name: len(records) for name, records in listing.splits.items()},
        "picture channels": [channels for channels in plan.picture_channels if channels is not None],
        "orphans": len(listing.orphans),
        "notes": list(plan.reasons),
        "fingerprint": plan.fingerprint,
    }

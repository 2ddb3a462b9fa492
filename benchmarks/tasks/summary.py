"""The few figures that stand in the README, in English and Chinese: those of at least three seeds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.tasks.cases import RUN, TWIN

Record = Mapping[str, Any]

LEAST_SEEDS = 3


@dataclass(frozen=True)
class Headline:
    """A row of the README.

    Attributes:
        experiment: of which.
        words: what was done and measured, in English and in Chinese.
        metric: of the run.
        beside: contender -> its words in both languages.
    """

    experiment: str
    words: tuple[str, str]
    metric: str
    beside: Mapping[str, tuple[str, str]]


INPUT = ("input", "输入")

HEADLINES = (
    Headline(
        "superresolve",
        ("Set5 four times as large, PSNR of the luma ↑", "Set5 放大四倍，亮度 PSNR ↑"),
        "psnr_y, set5",
        {"bicubic": ("bicubic", "双三次")},
    ),
    Headline("superresolve", ("the same, LPIPS ↓", "同上，LPIPS ↓"), "lpips, set5", {"bicubic": ("bicubic", "双三次")}),
    Headline("superresolve", ("Set14, LPIPS ↓", "Set14，LPIPS ↓"), "lpips, set14", {"bicubic": ("bicubic", "双三次")}),
    Headline(
        "colorize",
        ("BSDS500 grey to colour, LPIPS ↓", "BSDS500 灰度上色，LPIPS ↓"),
        "lpips",
        {"input": ("grey", "灰度"), TWIN: ("L1 alone", "仅 L1")},
    ),
    Headline(
        "colorize",
        ("the same, colourfulness (real: 35.8)", "同上，色彩丰富度（真实：35.8）"),
        "colourfulness",
        {TWIN: ("L1 alone", "仅 L1")},
    ),
    Headline(
        "nuclei-synthesize",
        ("masks to microscopy, mIoU that a segmenter reads off ↑", "掩模到显微图像，分割网络读出的 mIoU ↑"),
        "miou, segmenter trained here",
        {"real pictures": ("real pictures", "真实图片")},
    ),
    Headline(
        "steered",
        ("masks to microscopy by a sentence, LPIPS ↓", "按一句话生成显微图像，LPIPS ↓"),
        "lpips",
        {"wrong text": ("wrong sentence", "错误的句子"), "no text": ("none", "没有句子")},
    ),
    Headline(
        "edit-weather",
        ("skies made cloudy, bright, sunrise: read as asked ↑", "把天空变成多云、晴朗、日出：按要求被识别 ↑"),
        "target_accuracy, attributes",
        {"input": INPUT},
    ),
)

HEADS = (
    ("run", "this run: mean [least, most]", "beside it", "images", "processor minutes", "seeds"),
    ("运行", "结果：平均 [最小, 最大]", "对照", "图片数", "处理器分钟", "种子数"),
)


def write_headlines(records: Mapping[str, Sequence[Record]], readmes: Sequence[Path]) -> list[Path]:
    """The table between the markers of the README in English, and of that in Chinese."""
    for language, readme in enumerate(readmes):
        text = readme.read_text(encoding="utf-8")
        pattern = r"(<!-- results: made by python -m benchmarks\.tasks readme -->\n).*?(\n<!-- end of results -->)"
        readme.write_text(re.sub(pattern, rf"\1\n{table(records, language)}\n\2", text, flags=re.DOTALL), encoding="utf-8")
    return list(readmes)


def table(records: Mapping[str, Sequence[Record]], language: int) -> str:
    """A row for each headline of which there are enough seeds."""
    lines = [HEADS[language], ("---",) * len(HEADS[language])]
    for headline in HEADLINES:
        seeds = records.get(headline.experiment, ())
        if len(seeds) >= LEAST_SEEDS:
            lines.append(_row(headline, seeds, language))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(headline: Headline, seeds: Sequence[Record], language: int) -> tuple[str, ...]:
    values = _values(seeds, RUN, headline.metric)
    own = f"{_mean(values):.3g} [{min(values):.3g}, {max(values):.3g}]"
    beside = ", ".join(f"{words[language]} {_mean(_values(seeds, other, headline.metric)):.3g}" for other, words in headline.beside.items())
    minutes = [seed["processor_minutes"] for seed in seeds if seed["processor_minutes"]]
    spent = f"{_mean(minutes):.1f}" if minutes else "-"
    return headline.words[language], own, beside, f"{seeds[0]['images']:,}", spent, str(len(seeds))


def _values(seeds: Sequence[Record], contender: str, metric: str) -> list[float]:
    return [seed["figures"][contender][metric][0] for seed in seeds]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

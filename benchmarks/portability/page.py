"""docs/portability.md from the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.portability.formats import FORMATS, RECIPES, TITLES

HEAD = """# Portability

Made by `python -m benchmarks.portability page` from the records in [benchmarks/results/portability](../benchmarks/results/portability),
which the other commands of that script write. All of it is of a CPU ({machine}), torch {torch}.
"""

FORMATS_HEAD = """
## Formats

256 px, three channels in and out, random weights, compared on real photographs. *Differs by* is the largest difference of a value in
[-1, 1] from torch's; *faster* is torch's time of a picture over that of the format, median of turns in one process. The machine did other
things as well, so times of different rows say nothing of each other, and *faster* is a rough figure.

| generator | format | runtime | differs by | PSNR in dB | MiB | ms | faster |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""

FAMILIES_HEAD = """
## Other programs' models

Networks of the published sizes with random weights under the names of their program, saved as it saves them, taken in by
`pixloom import`, and compared with a forward pass that was written from the layout alone: the largest difference of an output in single
and in double precision, beside the deviation of the outputs. *Values*: weights and statistics. *Back*: the file that
`pixloom export --format junyanz` writes holds exactly the tensors that came in. SPADE's weights are divided by their spectral norm in
single precision when they are taken in, and the vectors of Real-ESRGAN's critic are kept in it, which is what is left in double precision.
Published weights were not at hand.

| network | values | deviation | differs by | in double precision | back |
| --- | --- | --- | --- | --- | --- |
"""

TILES_HEAD = """
## Large pictures

A picture of 1,024 px of noise in tiles against the whole. Where every layer is local tiles overlap by the network's radius and give the
same, to the rounding of sums that a convolution of another size adds up in another order; where the radius is larger than a tile can
have, or there is none, neighbours fade into each other, which is said of every picture.

| generator | radius in px | tiles | largest difference | mean |
| --- | --- | --- | --- | --- |
"""

LARGE_HEAD = """
`pixloom translate --size native` on one picture, generator of `auto` (small): the most memory that its process had, torch included.

| picture | seconds | MiB |
| --- | --- | --- |
"""

FILM_HEAD = """
## Films

A film of {frames} frames of {side} px that pans over a photograph and then stands still with the noise of a camera, with sound:

"""

INTAKE_HEAD = """
## Broken pictures

`pixloom translate` on a folder with {good} good pictures and {kinds} kinds of broken files: {made} were translated, the command ended with
exit code {exit}, and said, beside *{end}*:

| file | said |
| --- | --- |
"""


NOTHING = "nothing: it is no file of a name that is read, or a good one after all (what is locked, root may read)"


def write_page(results: Path, page: Path) -> None:
    """All that is recorded."""
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*.json"))}
    parts = [HEAD.format(**next(iter(records.values()))["machine"])]
    for name, make in (("formats", of_formats), ("families", of_families), ("tiles", of_tiles), ("film", of_film), ("intake", of_intake)):
        if name in records:
            parts.append(make(records[name]["rows"]))
    page.write_text("".join(parts), encoding="utf-8")


def of_formats(known: dict[str, Any]) -> str:
    """One line for every runtime of every format."""
    rows = []
    for name in RECIPES:
        for chosen in FORMATS:
            found = known.get(f"{name}, {chosen}")
            if found is None:
                continue
            if "refused" in found:
                rows.append(f"| {TITLES[name]} | {chosen} | – | {found['refused']} | – | – | – | – |")
                continue
            own = found["seconds"]["torch"]
            for runtime, (largest, psnr) in found["differences"].items():
                seconds = found["seconds"].get(runtime)
                cells = [f"{1000 * seconds:.1f}", f"{own / seconds:.2f}"] if seconds else ["–", "–"]
                rows.append(
                    f"| {TITLES[name]} | {chosen} | {runtime} | {largest:.1e} | {psnr:.1f} | {found['MiB']} | {' | '.join(cells)} |"
                )
    return FORMATS_HEAD + "\n".join(rows) + "\n"


def of_families(rows: list[dict[str, Any]]) -> str:
    """One line for every network."""
    back = {True: "equal", False: "differs", None: "–"}
    lines = [
        f"| {row['title']} | {row['values']:,} | {_spread(row['spread'])} | {row['single']:.1e} | {row['double']:.1e} "
        f"| {back[row['back']]} |"
        for row in rows
    ]
    return FAMILIES_HEAD + "\n".join(lines) + "\n"


def _spread(deviation: float) -> str:
    return f"{deviation:.2f}" if deviation > 0.01 else f"{deviation:.1e}"


def of_tiles(rows: dict[str, Any]) -> str:
    """Both tables."""
    equal = [
        f"| {row['title']} | {row['radius'] or '–'} | {'fade' if row['blend'] else 'meet'} | {row['largest']:.1e} | {row['mean']:.1e} |"
        for row in rows["equal"]
    ]
    large = [f"| {row['side']:,} x {row['side']:,} | {row['seconds']:g} | {row['MiB']:,} |" for row in rows["large"]]
    return TILES_HEAD + "\n".join(equal) + "\n" + LARGE_HEAD + "\n".join(large) + "\n"


def of_film(row: dict[str, Any]) -> str:
    """What went in and came out."""
    head = FILM_HEAD.format(frames=row["source"]["frames"], side=row["source"]["size"][0])
    table = "| | source | translation |\n| --- | --- | --- |\n"
    table += "".join(f"| {key} | {value} | {row['translation'][key]} |\n" for key, value in row["source"].items())
    return head + table + "\nThe command took " + f"{row['seconds']:g} s and said: " + " ".join(f"*{line}*" for line in row["said"]) + "\n"


def of_intake(row: dict[str, Any]) -> str:
    """What was said of each file."""
    head = INTAKE_HEAD.format(good=row["good"], kinds=row["kinds"], made=len(row["made"]), exit=row["exit"], end=row["end"])
    lines = [f"| `{kind}` | {said.replace('|', '/') or NOTHING} |" for kind, said in row["said"].items()]
    return head + "\n".join(lines) + "\n"

"""A picture of distributions of scores.

In: scores by name.  Out: a PNG.  Never here: where scores come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH_PX, PANEL_PX, LEFT_PX, FOOT_PX, TITLE_PX = 640, 110, 44, 26, 20
BINS = 100
COLOURS = ((30, 120, 60), (200, 120, 20), (180, 40, 40))
INK, LINES = (40, 40, 40), (225, 225, 225)


def draw_distributions(file: Path, series: Mapping[str, Sequence[float]], threshold: float) -> None:
    """Draw one panel below the other: how many scores lie in each hundredth of 0 to 1, on a logarithmic axis."""
    picture = Image.new("RGB", (WIDTH_PX, len(series) * (PANEL_PX + TITLE_PX) + FOOT_PX), (255, 255, 255))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    counts = [np.histogram(scores, BINS, (0, 1))[0] for scores in series.values()]
    decades = int(np.ceil(np.log10(1 + max(int(count.max()) for count in counts))))
    step_px = (WIDTH_PX - LEFT_PX - 10) / BINS
    for panel, (name, scores) in enumerate(series.items()):
        foot = (panel + 1) * (PANEL_PX + TITLE_PX)
        draw.text((LEFT_PX, foot - PANEL_PX - TITLE_PX + 3), f"{name} ({len(scores)})", font=font, fill=INK)
        for decade in range(decades + 1):
            level = foot - PANEL_PX * decade / decades
            draw.line((LEFT_PX, level, WIDTH_PX - 10, level), fill=LINES)
            draw.text((4, level - 7), f"{10**decade}", font=font, fill=INK)
        for index, count in enumerate(counts[panel].tolist()):
            if count:
                # One alone is to be seen: a fifth of a decade below it is the foot.
                height = PANEL_PX * (np.log10(count) + 0.2) / (decades + 0.2)
                x_px = LEFT_PX + index * step_px
                draw.rectangle((x_px, foot - height, x_px + step_px - 1, foot), fill=COLOURS[panel % len(COLOURS)])
        at = LEFT_PX + threshold * BINS * step_px
        draw.line((at, foot - PANEL_PX, at, foot), fill=INK, width=2)
    for tenth in range(11):
        at = LEFT_PX + tenth * BINS / 10 * step_px
        draw.text((at - 8, picture.height - FOOT_PX + 6), f"{tenth / 10:.1f}", font=font, fill=INK)
    picture.save(file, optimize=True)

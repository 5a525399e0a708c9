"""What the published study reports: macro F1 on its own 90 test photographs, one split."""

from __future__ import annotations

from .plan import Setting

RECIPE = "study"
BACKBONE = "efficientnetb0"
# strategy -> (landmark, category)
FIGURES = {
    "categories-first": (0.48, 0.98),
    "landmarks-first": (0.97, 1.00),
    "categories-feature": (0.46, 0.98),
    "landmarks-feature": (0.79, 0.98),
    "parallel": (0.81, 0.97),
}


def published(setting: Setting) -> dict[str, float] | None:
    """Return the published figures of a setting by head; None where it is not the study's."""
    if setting.recipe_name != RECIPE or setting.backbone != BACKBONE or setting.varied:
        return None
    return dict(zip(("landmark", "category"), FIGURES[setting.strategy], strict=True))

"""What was published of a system like the one that is searched: a check, and never a fit.

Layouts that the publication describes in words are predicted on its device, beside its total.
"""

from typing import Any

from nas.costs.block_costs import BlockCosts
from nas.costs.limits import Limits
from search_spaces.shipped.loading import published_of


def published_beside(costs: BlockCosts, limits: Limits) -> dict[str, Any] | None:
    """The published figures, and the predictions for layouts of their kind, on the main device.

    None where nothing is published of the space, on that device and at so many steps.
    """
    space, target, steps = costs.space, limits.targets[0], limits.budget.steps
    published = published_of(space.name)
    if published is None or (published.device, published.steps) != (
        costs.device.name,
        steps,
    ):
        return None
    rows = []
    for name, blocks in published.layouts.items():
        architecture = space.arranged(space.parse_block(block) for block in blocks)
        network = costs.network_ms(architecture)
        fixed_low_ms, fixed_high_ms = target.fixed_bounds_ms
        rows.append(
            {
                "layout": name,
                "blocks": dict(zip((slot.name for slot in space.slots), blocks, strict=True)),
                "latency_ms": steps * network.latency_ms + target.fixed_ms,
                "low_ms": steps * network.low_ms + fixed_low_ms,
                "high_ms": steps * network.high_ms + fixed_high_ms,
                "parameters": costs.parameters(architecture),
                "memory_mb": costs.memory_mb(architecture),
            }
        )
    return {
        "latency_ms": published.latency_ms,
        "parameters": published.parameters,
        "source": published.source,
        "layouts": rows,
    }

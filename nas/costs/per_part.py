"""Latency of a network's parts: what each decision adds to a call."""

from latency import Device, Workload


def per_part_ms(device: Device, workload: Workload) -> dict[str, float]:
    """By the choice that a part is named after (`layer0` of `layer0=full`), in ms.

    Of a device whose parts add: what they multiply depends on the others (`NamedCosts`).
    """
    found: dict[str, float] = {}
    for part in workload.parts:
        if part.name != part.choice:  # a decision, and no number or rest of the network
            added_ms = float(device.part_row(part)[0])
            found[part.choice] = found.get(part.choice, 0.0) + added_ms
    return found

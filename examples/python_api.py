"""The same from Python: a search small enough to watch, then its winner.

python examples/python_api.py OUT
"""

import sys

import nas
from supernet import TrainingPlan

result = nas.search(
    sys.argv[1],
    nas.Settings(
        budget=nas.Budget(latency="50%"),
        trials=16,
        plan=TrainingPlan(image_steps=40, video_steps=40),
        finalist_steps=24,
        winner_steps=40,
        validation_clips=16,
        test_clips=16,
    ),
)
print(f"winner: {result.winner.architecture}")
print(f"{result.winner.latency_ms:.2f} ms for 4 steps, loss {result.winner.loss:.4f}")

"""Tasks of an executor."""

from falcon_dvc.compute.executor import Task


def tasks_of(numbers, asked=None):
    for number in numbers:
        if asked is not None:
            asked.append(number)
        yield Task(f"images {number}-{number}", (number,))

from __future__ import annotations

from typing import Any

import pytest

from reconciler.execute.ending import Ending
from reconciler.execute.verdict import Facts, judge
from reconciler.model.execution import Reason, Status
from reconciler.model.task import TaskSpec

SPEC = TaskSpec.model_validate({"command": "x", "timeout": "1h30m", "successExitCodes": [0, 3]})
LOOKED = Ending(alive=True, count=2)
UNASKED = Ending(fault="db-1 is silent")


@pytest.mark.parametrize(
    ("facts", "reason", "code", "words"),
    [
        ({"exit_code": 0}, Reason.COMPLETED, 0, None),
        ({"exit_code": 3}, Reason.COMPLETED, 3, None),
        ({"exit_code": 1}, Reason.EXIT_CODE, 1, None),
        ({"exit_code": 137}, Reason.EXIT_CODE, 137, None),
        ({"exit_code": 0, "held_open": True}, Reason.COMPLETED, 0, "left in the background"),
        ({"lost": "the line broke"}, Reason.LOST, None, "the line broke; how the command ended is not known"),
        ({}, Reason.LOST, None, "without an exit code"),
        # it never started
        (
            {"started": False, "lost": "the line broke"},
            Reason.LOST,
            None,
            "never acknowledged: the line broke",
        ),
        (
            {"started": False, "exit_code": 1, "said": "sudo: a password is required"},
            Reason.START_FAILED,
            None,
            "did not start the command: sudo: a password is required (its shell ended with exit code 1)",
        ),
        (
            {
                "started": False,
                "refused": True,
                "exit_code": 1,
                "said": "sh: cd: /srv: not there",
                "lost": "x",
            },
            Reason.START_FAILED,
            None,
            "did not start the command: sh: cd: /srv: not there",
        ),
        # it was ended
        (
            {"because": "timed-out", "ending": LOOKED, "exit_code": 143},
            Reason.TIMED_OUT,
            None,
            "timed out after 1h30m; ended on TERM, nothing of it is left",
        ),
        (
            {
                "because": "cancelled",
                "why": "by alice",
                "ending": Ending(alive=True, count=1, killed=("sh (7)",)),
            },
            Reason.CANCELLED,
            None,
            "cancelled: by alice; did not end on TERM and had to be killed: sh (7)",
        ),
        (
            {
                "because": "timed-out",
                "ending": Ending(alive=True, count=1, killed=("dd (7)",), left=("dd (7)",)),
            },
            Reason.TIMED_OUT,
            None,
            "could not be ended even by KILL: dd (7)",
        ),
        (
            {"because": "timed-out", "ending": Ending(True, 20, tuple(f"p ({n})" for n in range(20)))},
            Reason.TIMED_OUT,
            None,
            "p (7) and 12 more",
        ),
        # it was over before we came
        ({"because": "timed-out", "ending": Ending(), "exit_code": 0}, Reason.COMPLETED, 0, None),
        ({"because": "cancelled", "ending": Ending(count=1), "exit_code": 9}, Reason.EXIT_CODE, 9, None),
        # nobody could look
        (
            {"because": "timed-out", "ending": UNASKED},
            Reason.LOST,
            None,
            "is not known: the host does not answer",
        ),
        (
            {"because": "cancelled", "ending": UNASKED, "lost": "cut"},
            Reason.LOST,
            None,
            "not known: cut (db-1 is silent)",
        ),
        (
            {"because": "cancelled", "ending": UNASKED, "exit_code": 143},
            Reason.CANCELLED,
            None,
            "nobody could look what it left behind (db-1 is silent)",
        ),
        (
            {"started": False, "because": "timed-out", "ending": Ending()},
            Reason.TIMED_OUT,
            None,
            "nothing of it was left",
        ),
    ],
)
def test_facts_become_a_verdict(
    facts: dict[str, Any], reason: Reason, code: int | None, words: str | None
) -> None:
    verdict = judge(Facts(**{"started": True, **facts}), SPEC)
    assert verdict.reason is reason
    assert verdict.exit_code == code
    assert verdict.status is (Status.SUCCESS if reason is Reason.COMPLETED else Status.FAILED)
    assert verdict.message is None if words is None else words in (verdict.message or "")

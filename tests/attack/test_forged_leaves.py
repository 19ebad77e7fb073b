#!/usr/bin/env python3
"""With the vault's host keys, but without the operators' signatures: leaves that would let things go.

  test_forged_leaves.py DOZO FORGE_LEAF

Each attempt appends what it likes to a copy of a vault.  Then all commands that read, and two runs of prune
that come weeks later, must do as they do in the copy where nothing was forged, and `status` and `verify` must
say that something is wrong.  A table says what was tried, what was expected, and what was seen."""
import json
import os
import pathlib
import shutil
import sys
import tempfile

from forging import CLOCK_EVENT, CLOCK_TICK, DOZO, POLICY, PRUNE_DONE, PRUNE_INTENT, RELEASE, SETTLED, approve, ask, \
    dozo, forge, make_operators, rows, run, sign

COMMIT, PACK = 1, 2  # types of objects
KEY = ["--key", "key"]
NOW = 3  # the day of the attack; the vault was made on day 0
LATER = [NOW + 8, NOW + 16]
LOOSE = {"event": "set", "source": "files", "minimum": 0, "daily": 0, "monthly": 0, "yearly": 0, "timezone": "UTC"}


# ---- what the vault holds ----
def commits():
    """Commit records in the order of the snapshots."""
    return [o["name"] for row in rows("log", day=NOW) if row["kind"] == "commit" for o in row["objects"]]


def ids():
    return [row["id"] for row in rows("snapshots", day=NOW)]


def leaf_of(kind):
    return max(row["index"] for row in rows("log", day=NOW) if row["kind"] == kind)


def objects(n):
    return [(COMMIT, name) for name in commits()[:n]]


def status(day):
    return json.loads(dozo("--json", "status", code=1, day=day))


def facts(day):
    """All that a forged leaf might change."""
    now = status(day)
    snapshots = [row["id"] for row in rows("snapshots", day=day)]
    file = str(pathlib.Path("tree/f").resolve())[1:]
    return {"snapshots": snapshots,
            "content": [dozo(*KEY, "cat", name, file, day=day) for name in snapshots],
            "newest": dozo(*KEY, "cat", "latest:files", file, day=day),
            "decisions": [row["reason"] for row in rows("prune", "--dry-run", day=day)],
            "rules": [[row[k] for k in ("source", "minimum_days", "daily", "monthly", "yearly")]
                      for row in rows("policy", day=day)],
            "holds": [row["why"] for row in rows("hold", day=day)],
            "alarms": [row["reason"] for row in now["standing"]],
            "frozen": now["clock"]["frozen"]}


def files():
    return {what: sorted(path.name for path in pathlib.Path("vault", what).iterdir()) for what in ("commits", "packs")}


def tick(day):
    """The clocks as dozo reads them."""
    got = run(sys.executable, "-c", "import time; print(*map(time.clock_gettime_ns, [time.CLOCK_BOOTTIME, "
              "time.CLOCK_REALTIME]))", day=day).split()
    return {"boot": pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "up_us": int(got[0]) // 1000,
            "wall_us": int(got[1]) // 1000}


# ---- the attempts: on the clock, in a vault where it stands still ----
ATTEMPTS = []


def attempt(function):
    ATTEMPTS.append(function)
    return function


def asked(*args):
    """A request of which nobody approves; its name."""
    return ask(*args, day=NOW)[0]


def signed(by, *args):
    name, text = ask(*args, day=NOW)
    for key in by:
        approve(name, sign(key, text), day=NOW)
    return name


@attempt
def rules_are_loosened_by_a_leaf():
    forge(POLICY, None, LOOSE, day=NOW)


@attempt
def rules_are_loosened_with_a_request_that_nobody_signed():
    forge(POLICY, asked("loosen-policy", "files,minimum=0,daily=0,monthly=0,yearly=0"), LOOSE, day=NOW)


@attempt
def rules_are_loosened_further_than_was_signed():
    forge(POLICY, signed(["alice", "bob"], "loosen-policy", "files,minimum=59"), LOOSE, day=NOW)


@attempt
def a_hold_is_released_by_a_leaf():
    forge(RELEASE, None, {}, objects=objects(1), day=NOW)


@attempt
def a_hold_is_released_with_one_signature_of_two():
    forge(RELEASE, signed(["alice", "mallory"], "release-hold", leaf_of("hold")), {}, objects=objects(1), day=NOW)


@attempt
def an_alarm_is_settled_by_a_leaf():
    forge(SETTLED, None, {}, day=NOW)


@attempt
def an_alarm_is_settled_with_a_request_that_nobody_signed():
    forge(SETTLED, asked("acknowledge-alarm", leaf_of("alarm")), {}, day=NOW)


@attempt
def an_alarm_is_settled_by_who_signed_the_deletion_of_another():
    name = asked("acknowledge-alarm", leaf_of("alarm"))
    _, other = ask("operator-remove", "carol", day=NOW)
    for key in ["alice", "bob"]:
        approve(name, sign(key, other), day=NOW)
    forge(SETTLED, name, {}, day=NOW)


@attempt
def the_clock_is_trusted_again_by_a_leaf():
    forge(CLOCK_EVENT, None, tick(NOW), day=NOW)


@attempt
def the_clock_is_trusted_again_with_a_request_that_nobody_signed():
    forge(CLOCK_EVENT, asked("unfreeze-clock"), tick(NOW), day=NOW)


@attempt
def a_deletion_is_announced_by_a_leaf():
    forge(PRUNE_INTENT, None, {"event": "approved", "snapshots": 3}, objects=objects(3), day=NOW)


@attempt
def a_deletion_is_announced_with_a_request_that_nobody_signed():
    name = asked("delete-snapshot", ids()[1])
    forge(PRUNE_INTENT, name, {"event": "approved", "snapshots": 1}, objects=objects(2)[1:], day=NOW)


@attempt
def a_deletion_is_announced_of_more_than_was_signed():
    name = signed(["alice", "bob"], "delete-snapshot", ids()[2])
    forge(PRUNE_INTENT, name, {"event": "approved", "snapshots": 3}, objects=objects(3), day=NOW)


def done(day=NOW):
    forge(PRUNE_DONE, None, {"event": "removed", "snapshots": 3}, objects=objects(3), day=day)


def announce(day=NOW):
    forge(PRUNE_INTENT, None, {"event": "announced", "snapshots": 3}, objects=objects(3), day=day)


@attempt
def snapshots_are_removed_by_a_leaf():
    done()


@attempt
def snapshots_are_removed_at_once_after_they_were_announced():
    announce()
    done()


@attempt
def snapshots_are_removed_with_an_announcement_dated_back():
    announce(NOW - 9)
    done()


@attempt
def snapshots_are_removed_with_a_leaf_dated_ahead():
    announce()
    done(NOW + 9)


@attempt
def snapshots_are_removed_after_a_week_of_forged_ticks():
    announce(NOW - 9)
    for day in 0, 9:
        forge(CLOCK_TICK, None, {**tick(NOW + day), "boot": "forged", "up_us": day * 86400 * 10**6}, day=NOW)
    done()


@attempt
def snapshots_and_packs_are_removed_by_a_leaf():
    announce(NOW - 9)
    done()
    forge(PRUNE_DONE, None, {}, objects=[(PACK, path.name) for path in pathlib.Path("vault/packs").iterdir()], day=NOW)


# ---- the same leaves when two have signed: the table above can fail ----
def rules():
    forge(POLICY, signed(["alice", "bob"], "loosen-policy", "files,minimum=0,daily=0,monthly=0,yearly=0"), LOOSE, day=NOW)


def hold():
    forge(RELEASE, signed(["alice", "carol"], "release-hold", leaf_of("hold")), {}, objects=objects(1), day=NOW)


def alarm():
    forge(SETTLED, signed(["carol", "bob"], "acknowledge-alarm", leaf_of("alarm")), {}, day=NOW)


def the_clock():
    forge(CLOCK_EVENT, signed(["alice", "bob"], "unfreeze-clock"), tick(NOW), day=NOW)


def deletion():
    name = signed(["alice", "bob"], "delete-snapshot", ids()[1])
    forge(PRUNE_INTENT, name, {"event": "approved", "snapshots": 1}, objects=objects(2)[1:], day=NOW)


def prepare():
    make_operators()
    run(DOZO, "init", "calm", "--key-file", "key", "--operators", "operators", "--approvals", 2, day=0)
    pathlib.Path("tree").mkdir()
    for day in range(3):
        pathlib.Path("tree/f").write_text(f"as of day {day}")
        dozo("backup", "--source", "files", "tree", vault="calm", day=day)
    dozo("policy", "set", "files", "--timezone", "UTC", vault="calm", day=2)
    dozo("hold", rows("snapshots", vault="calm", day=2)[0]["id"], "--why", "case 7", vault="calm", day=2)
    dozo("backup", "--source", "db", "--stdin-as", "d", "--", "sh", "-c", "exit 1", vault="calm", code=3, day=2)
    shutil.copytree("calm", "jumped")
    dozo("prune", vault="jumped", code=1, day=2, jump=True)
    dozo("verify", vault="calm", day=NOW)
    dozo("verify", vault="jumped", day=NOW)


def begin(function):
    """A copy of the vault that it is made for."""
    base = "jumped" if "the_clock" in function.__name__ else "calm"
    shutil.rmtree("vault", ignore_errors=True)
    shutil.copytree(base, "vault")
    return base


def what_comes_of_it():
    """(day, facts) now, and after prunes that come later."""
    yield NOW, facts(NOW), files()
    for day in LATER:
        run(DOZO, "--vault", "vault", "prune", day=day, code=None)
        yield day, facts(day), files()


def judge(function, want):
    """What was seen."""
    base = begin(function)
    function()
    reason = "removed-early" if function.__name__.startswith("snapshots_") else "forged-approvals"
    said = function is not a_deletion_is_announced_by_a_leaf  # an announcement alone does nothing, and claims nothing
    if (reason in status(NOW)["reasons"]) != said:
        return f"status: {reason} is {not said}"
    if run(DOZO, "--vault", "vault", "verify", day=NOW, code=None) != said:
        return f"exit code of verify is not {int(said)}"
    for (day, seen, left), (_, good, all_files) in zip(what_comes_of_it(), want[base]):
        for what in good:
            if seen[what] != good[what] and (what, good[what]) != ("frozen", False):  # to stop it harms nothing
                return f"TAKEN: on day {day} {what}: {seen[what]}, not {good[what]}"
        if left != all_files:
            return f"TAKEN: on day {day} files are gone"
    return "refused"


def main():
    prepare()
    want, failed = {}, 0
    for base, function in ("calm", rules), ("jumped", the_clock):
        begin(function)
        want[base] = list(what_comes_of_it())
    print(f"{'attempt':72} {'expected':10} seen")
    for function in ATTEMPTS:
        seen = judge(function, want)
        failed += seen != "refused"
        print(f"{function.__name__.replace('_', ' '):72} {'refused':10} {seen}")
    for function in rules, hold, alarm, the_clock, deletion:
        base = begin(function)
        function()
        if facts(NOW) == want[base][0][1]:
            failed += 1
            print(f"{function.__name__}: two signed, and it was not taken: the attempts above prove nothing")
    sys.exit(f"{failed} of {len(ATTEMPTS)} attempts" if failed else 0)


with tempfile.TemporaryDirectory(prefix="dozo-forged-") as directory:
    os.chdir(directory)
    try:
        main()
    finally:
        os.chdir("/")

"""An executor that sends letters, each of them once, and the office that hands them in: ordinary pycolonies code."""

import time

from pycolonies import ColoniesConnectionError, colonies_client, func_spec

SENT = []  # the book of sent letters; a real one would be a table with a unique key
WAITING, RUNNING = 0, 1


def mailer(key, careless):
    """Send letters for ever. A careless one does not look into the book first."""
    client, colony, *_ = colonies_client()
    while True:
        try:
            process = client.assign(colony, 60, key)
        except ColoniesConnectionError:
            time.sleep(1)
            continue
        letter = process.spec.args[0]
        time.sleep(5)  # to the post box
        if careless or letter not in SENT:
            SENT.append(letter)
        try:
            client.close(process.processid, ["sent"], key)
        except ColoniesConnectionError:
            pass  # closed or not: if not, the letter comes again, and is in the book


def office(letters):
    """Hand letters in, wait until no process is left, and look into the book."""
    client, colony, _, _, key = colonies_client()
    for number in range(letters):
        client.submit_func_spec(func_spec("send", [f"letter {number}"], colony, "mailer", maxexectime=30), key)
        time.sleep(20)
    while any(client.list_processes(colony, 1, state, key) for state in (WAITING, RUNNING)):
        time.sleep(60)
    for number in range(letters):
        times = SENT.count(f"letter {number}")
        assert times == 1, f"letter {number} was sent {times} times"

"""An executor that adds numbers: python worker.py"""

import time

from pycolonies import ColoniesConnectionError, colonies_client


def main():
    client, colony, _, _, key = colonies_client()
    while True:
        try:
            process = client.assign(colony, 60, key)  # raises if nothing has come for 60 s
        except ColoniesConnectionError:
            time.sleep(1)
            continue
        try:
            work(client, process, key)
        except ColoniesConnectionError as error:
            print("the result could not be delivered:", error)


def work(client, process, key):
    try:
        total = sum(process.spec.args)
    except TypeError as error:
        client.fail(process.processid, [f"bad arguments: {error}"], key)
        return
    time.sleep(10)
    client.close(process.processid, [total], key)


if __name__ == "__main__":
    main()

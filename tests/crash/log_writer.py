"""`python -m tests.crash.log_writer`: the production log alone in a process, and each durable block's last
sequence on standard output: an acknowledgement as a client would have it.

Ends with status 0 when the log says that the disk is full, 1 when the disk failed.
"""

import random
import sys
from pathlib import Path

import click
import numpy as np

from engine.command_log import CommandLog, LogFullError
from engine.disk import PosixDisk
from engine.records import Records, empty_commands
from engine.vocabulary import Command
from tests.crash.faults import Fault, install

QUIET_ONE_IN = 32  # blocks: nobody waits behind one of so many


def numbered(first: int, count: int) -> Records:
    """Stamped commands whose tag is their sequence: what else they say does not matter to a log."""
    commands = empty_commands(count)
    commands["kind"] = Command.DEPOSIT
    commands["sequence"] = commands["tag"] = np.arange(first, first + count)
    return commands


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--fault", type=click.Choice([fault.value for fault in Fault]), default=Fault.NONE.value)
@click.option("--seed", default=8)
@click.option("--segment-kib", default=1024)
@click.option("--block", default=64, help="Commands of the largest block.")
def main(folder: Path, fault: str, seed: int, segment_kib: int, block: int) -> None:
    """Append blocks until the disk is full or somebody ends it."""
    install(Fault(fault), seed)
    chance = random.Random(seed)
    log = CommandLog(PosixDisk(folder), segment_kib << 10, spares=PosixDisk(folder / "spares"))
    for _ in log.recover():
        pass
    log.resume(log.epoch + 1)
    try:
        while True:
            log.append(numbered(log.sequence + 1, chance.randint(1, block)))
            print(log.sequence, flush=True)
            if chance.randrange(QUIET_ONE_IN) == 0:
                log.make_ahead()
    except LogFullError:
        log.close()
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()

"""A job's work, on all its devices, and the record of it in the job's folder."""

import logging
import time
import traceback
from collections.abc import Callable
from typing import Any

from ddpm_lightning.runs.launch import RankError, record_error, run_ranks
from ddpm_lightning.runs.ranks import global_rank, is_own_rank, started_from_outside
from ddpm_lightning.runs.run_folder import RunFolder

log = logging.getLogger(__name__)
Scores = dict[str, float]


def run_job(
    run: RunFolder, config: dict[str, Any], ranks: int, work: Callable[[], Scores], reconfigured: bool = False
) -> Scores:
    """Does the work and returns its scores; `status` says at any moment how far it is.

    Args:
        run: the job's folder.
        config: what the folder is claimed for.
        ranks: processes to start for the work; with 1 it is done in this one.
        work: gives the scores, the same on all ranks.
        reconfigured: whether the folder's run goes on with this config instead of its own.

    Raises:
        FileExistsError: if the folder holds another run.
        ValueError: if another process is at work there.
        SystemExit: in a rank that torchrun or srun started, for any error of the work.
    """
    if is_own_rank():
        return _work_as_rank(run, work)
    try:
        # The first rank keeps the record.
        return work() if global_rank() > 0 else _work_on_record(run, config, ranks, work, reconfigured)
    except Exception as error:
        if started_from_outside():  # the other ranks wait for this one, until its process ends
            raise SystemExit(f"this rank ends, since its job failed:\n{traceback.format_exc()}") from error
        raise


def _work_on_record(
    run: RunFolder, config: dict[str, Any], ranks: int, work: Callable[[], Scores], reconfigured: bool
) -> Scores:
    with run.locked():
        if not reconfigured:
            run.claim(config)
        began, resumed = time.time(), run.last_checkpoint.is_file()
        run.write_status("running", resumed=resumed)
        if reconfigured:  # only now: a run that is done is never described by a config that it has not reached
            run.write_config(config)
        try:
            if ranks > 1:
                run_ranks(ranks)
                scores: Scores = run.read_status()["scores"]
            else:
                scores = work()
        except (KeyboardInterrupt, SystemExit) as error:
            run.write_status("interrupted", resumed=resumed)
            if isinstance(error, SystemExit) and error.code == 1:  # so Lightning ends at Ctrl-C
                raise KeyboardInterrupt from error
            raise
        except BaseException as error:
            details = error.details if isinstance(error, RankError) else traceback.format_exc()
            message = f"{type(error).__name__}: {error}"
            run.write_status("failed", error=message, traceback=details, resumed=resumed)
            log.error("the run in %s failed: %s", run.path, message)
            raise
        run.write_status("done", scores=scores, resumed=resumed, seconds=time.time() - began)
    return scores


def _work_as_rank(run: RunFolder, work: Callable[[], Scores]) -> Scores:
    """The process that started this rank keeps the record; it finds the scores in the status."""
    try:
        scores = work()
        if global_rank() == 0:
            run.write_status("running", scores=scores)
    except BaseException as error:
        record_error(error)
        raise
    return scores

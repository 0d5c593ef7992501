"""A job's work on all its devices, and its record in the job's folder."""

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from ddpm_lightning.runs.config import RunConfig
from ddpm_lightning.runs.failure import RankError, failure_message
from ddpm_lightning.runs.launch import record_error, run_ranks
from ddpm_lightning.runs.ranks import global_rank, is_own_rank, started_from_outside
from ddpm_lightning.runs.run_folder import RunFolder, shown_path
from ddpm_lightning.temporary_folder import remove_leftovers

log = logging.getLogger(__name__)
Scores = dict[str, float]


def run_job(run: RunFolder, config: RunConfig, ranks: int, work: Callable[[], Scores]) -> Scores:
    """Does the work and returns its scores; the file `status` shows its progress at any moment.

    A process has one of three roles in it:

    - a rank that this project started does the work, and hands its error or its scores to the process that started it;
    - a rank that torchrun or srun started does the work; the first one of them keeps the record as well;
    - any other process keeps the record, and starts the ranks or does the work itself.

    Args:
        run: the job's folder.
        config: written to `config.yaml`; another run there is an error.
        ranks: processes to start for the work; with 1 it is done in this one.
        work: gives the scores, the same on all ranks.

    Raises:
        FileExistsError: if the folder holds another run.
        ValueError: if another process works there.
        SystemExit: in a rank that torchrun or srun started, for any error of the work.
    """
    if is_own_rank():
        return _work_as_rank(run, work)
    try:
        # The first rank keeps the record.
        return work() if global_rank() > 0 else _work_on_record(run, config, ranks, work)
    except Exception as error:
        if started_from_outside():  # the other ranks wait for this one, until its process ends
            raise SystemExit(f"this rank ends, since its job failed:\n{traceback.format_exc()}") from error
        raise


def _work_on_record(run: RunFolder, config: RunConfig, ranks: int, work: Callable[[], Scores]) -> Scores:
    with run.locked():
        run.check(config)
        remove_leftovers(run.path)
        if (state := run.read_status()["state"]) != "new" and not run.holds_results:
            log.info("the last attempt in %s (%s) saved nothing: restarting", run.path, state)
            run.set_aside_other(config)
        log.info("writing to %s", shown_path(run.path))
        began, resumed = monotonic(), run.last_checkpoint.is_file()
        # In this order: a run that is done is never described by a config that it has not reached.
        run.write_status("running", resumed=resumed)
        run.store(config)
        try:
            if ranks > 1:
                run_ranks(ranks)
                scores: Scores = run.read_status()["scores"]  # which rank 0 has put there
            else:
                scores = work()
        except (KeyboardInterrupt, SystemExit) as error:
            run.write_status("interrupted", resumed=resumed)
            if isinstance(error, SystemExit) and error.code == 1:  # what Lightning does at Ctrl-C
                raise KeyboardInterrupt from error
            raise
        except BaseException as error:
            details = error.details if isinstance(error, RankError) else traceback.format_exc()
            with suppress(OSError):  # on a full disk, the error that matters is the one that is raised
                run.write_status("failed", error=failure_message(error), traceback=details, resumed=resumed)
            raise
        run.write_status("done", scores=scores, resumed=resumed, seconds=monotonic() - began)
    return scores


def _work_as_rank(run: RunFolder, work: Callable[[], Scores]) -> Scores:
    """The process that started this rank keeps the record, and finds the scores in the status."""
    try:
        scores = work()
        if global_rank() == 0:
            run.write_status("running", scores=scores)
    except BaseException as error:
        record_error(error)
        raise
    return scores

"""Words that are no options, or options that are not written as Hydra reads them."""

from collections.abc import Callable

import pytest

# ruff: noqa: RUF001  (wrong characters are the point)
SPELLING = """
1 train --seed 1 => --seed is not a flag \\(--help lists them\\): write an option as seed=1
1 train --seed=1 => --seed is not a flag .*: write an option as seed=1
1 train -seed=1 => -seed is not a flag .*: write an option as seed=1
1 train --batch-size 4 => write an option as batch_size=4
1 train --multirun=true seed=0,1 => --multirun/-m: ignored explicit argument 'true'
1 train -M seed=0,1 => -M is not a flag
1 train - m seed=0,1 => '-' is neither a path of a run nor an option
1 train seed = 1 => seed =: write an option without spaces, as in seed=1
1 train seed= 1 => seed= 1: write an option without spaces, as in seed=1
1 train seed =1 => seed =1: write an option without spaces, as in seed=1
1 train 'seed =1' => 'seed =1': write an option without spaces, as in seed=1
1 train ' seed=1' => type seed=1
1 train seed => 'seed' is neither a path of a run nor an option, as in KEY=VALUE \\(perhaps seed=VALUE\\)
1 train seed:1 => 'seed:1' is neither a path of a run nor an option
1 train seed==1 => 'seed==1' has one `=` too many: type seed=1
1 train '' => '' is neither a path of a run nor an option
1 train = => '=' is neither
1 train =1 => '=1' is neither
1 train schedule.cosine => \\(perhaps schedule=cosine\\)
1 train schedule/cosine => \\(perhaps schedule=cosine\\)
1 train run => 'run' is neither .* \\(resume=run continues a run\\)
1 train train => 'train' is neither a path of a run nor an option
1 train 'seed=1 schedule=linear' => holds several options: separate them by a space
1 train model.channels=[16, 16] => write an option without spaces, as in 'model.channels=\\[16,16\\]'
1 train -m seed=0, 1 => seed=0, 1: write an option without spaces, as in seed=0,1
1 train 'model.channels=[16,16' => opens a bracket that is not closed: a list is written 'model.channels=\\[1,2\\]'
1 train 'model.channels=(16,16)' => a list is written 'model.channels=\\[16,16\\]'
1 train 'model.channels={16,16}' => a list is written 'model.channels=\\[16,16\\]'
1 train schedule=“linear” => one that only looks right: type schedule=linear
1 train "schedule='linear" => has a quote that is not closed: type schedule=linear
1 train optimizer.lr=1e−3 => one that only looks right: type optimizer.lr=1e-3
1 train seed=１ => one that only looks right: type seed=1
1 train 'seed=1;' => a character too many, .*: type seed=1
1 train seed=1, => a character too many, .*: type seed=1
1 train optimizer.lr=10^-3 => quote it twice, for the shell and for Hydra: 'optimizer.lr="10\\^-3"'
1 train optimizer[lr]=1 => 'optimizer\\[lr\\]' cannot be the name of an option: names look like optimizer.lr
1 train optimizer..lr=1 => 'optimizer..lr' cannot be the name of an option
1 train .seed=1 => '.seed' cannot be the name of an option
1 train 'optimizer->lr=1' => cannot be the name of an option
1 train '@schedule=linear' => cannot be the name of an option
1 train seed=1,2 => seed=1,2 has several values: add -m to sweep over them
1 train 'seed=range(3)' => seed=range\\(3\\) has several values: add -m to sweep over them
1 train optimizer.lr=0,001 => optimizer.lr=0,001 has several values
1 sample run checkpoint=sweep => checkpoint= is given twice, as run and as sweep: leave out one
1 report sweep metric=kid metric=fid => metric= is given twice, as kid and as fid: leave out one
1 report sweep by= => by= needs a value
1 report --by=loss sweep => unknown argument '--by=loss': options are written without dashes
1 report sweep out = x => there is no file or folder 'out', .* Did you mean out=...\\?
1 report sweep,run => there is no file or folder 'sweep,run'
1 export run --out m => unknown argument '--out': options are written without dashes
"""

NAMES = """
1 train sed=1 => unknown option 'sed'. Did you mean seed\\?
1 train SEED=1 => Did you mean seed\\?
1 train optimizer.LR=1 => Did you mean optimizer.lr\\?
1 train optimizer.lrr=1 => Did you mean optimizer.lr\\?
1 train optimizer/lr=1 => Did you mean optimizer.lr\\?
1 train optimizr.lr=1 => Did you mean optimizer\\?
1 train seed.x=1 => unknown option 'seed.x'. Did you mean seed\\?
1 train batch_size=4 => Did you mean dataset.batch_size\\?
1 train lr=1e-3 => Did you mean optimizer.lr\\?
1 train learning_rate=1e-3 => Did you mean optimizer.lr\\?
1 train epochs=10 => Did you mean trainer.max_epochs\\?
1 train steps=10 => Did you mean trainer.max_steps\\?
1 train train_num_steps=10 => Did you mean trainer.max_steps\\?
1 train gpus=1 => Did you mean trainer.devices\\?
1 train trainer.gpus=1 => unknown option 'trainer.gpus'
1 train trainer.max_time=1 => unknown option 'trainer.max_time'
1 train image_size=32 => Did you mean dataset.image_size\\?
1 train num=4 => It is an option of sample.py
1 train checkpoint=run => It is an option of evaluate.py, sample.py, export.py
1 train metric=kid => It is an option of report.py
1 train schedule=Cosine => unknown schedule 'Cosine': choose from cosine, .* Did you mean schedule=cosine\\?
1 train schedule=cosine.yaml => unknown schedule 'cosine.yaml': .* Did you mean schedule=cosine\\?
1 train schedule=conf/schedule/cosine => unknown schedule 'conf/schedule/cosine': .* Did you mean schedule=cosine\\?
1 train dataset=MNIST => unknown dataset 'MNIST': choose from .* Did you mean dataset=mnist\\?
1 train dataset=imagenet => unknown dataset 'imagenet': choose from cifar10
1 train callbacks=[cost,checkpoint] => unknown callbacks 'checkpoint': .* Did you mean callbacks=checkpointing\\?
1 train schedule=[linear,cosine] => schedule takes one choice, not a list: .* -m schedule=linear,cosine
1 train schedule=linear,cosine => schedule=linear,cosine has several values: add -m
1 train schedule=null => schedule=null is not possible: choose from cosine
1 train loss=3 => loss=3 is not possible: choose from huber, hybrid, mae, mse, vlb
1 train dataset.split=official => dataset.split is a group: choose with dataset/split=official \\(from folders, official
1 train metrics.features=lenet => metrics.features is a group: choose with metrics/features=lenet
1 train weighting.gamma=5 => 'weighting.gamma' is not an option of the selected weighting
1 train experiment=mnist_quik => Did you mean experiment=mnist_quick\\?
1 train +sed=1 => \\+sed adds an option that nothing reads. Did you mean seed=\\?
1 train ++sed=1 => \\+sed adds an option that nothing reads
1 train +paths.dta_dir=x => nothing reads. Did you mean paths.data_dir=\\?
1 train +seed=1 => seed exists already: leave out the \\+, as in seed=1
1 train +optimizer.lrr=1 => optimizer has no option 'lrr'; it has betas
1 train +schedule=cosine => schedule is a group that every run has: leave out the \\+
1 train ++schedule=cosine => schedule is a group that every run has: leave out the \\+
1 train ~seed => ~seed would remove an option that every run has: give it another value with seed=...
1 train ~optimizer.lr => ~optimizer.lr would remove an option
1 train ~dataset.batch_size => ~dataset.batch_size would remove an option
1 train ~schedule => ~schedule would remove an option
1 train ~logger => ~logger would remove an option
1 train ~hydra => ~hydra would remove an option
1 train ~callbacks.foo => there is no callbacks.foo to remove: callbacks has
1 evaluate run num=4 => unknown option 'num'. It is an option of sample.py
1 evaluate run schedule=linear => 'schedule' cannot be changed here: schedule comes from the checkpoint
1 evaluate run sampler.foo=1 => unknown option 'sampler.foo'
1 evaluate run metrics=likelihood metrics/features=lenet => metrics=likelihood has no group metrics/features: leave out
1 evaluate run metrics=likelihood metrics.num_samples=5 => unknown option 'metrics.num_samples'
1 evaluate run metrics/features=foo => unknown metrics/features 'foo': choose from from_checkpoint, inception, lenet
1 sample run metrics.num_samples=4 => 'metrics.num_samples' cannot be changed here
1 sample run sampler=foo => unknown sampler 'foo': choose from ddim
1 sample run out=foo => It is an option of report.py, export.py
1 report sweep schedule=linear => unknown option 'schedule'; the options are by=, metric=, out=.
1 export run out=m num=4 => unknown option 'num'; the options are checkpoint=, out=
"""

HYDRA = """
1 train -m 'seed=range(0)' => there is nothing to sweep over
1 train -m seed=0,1 schedule=linear,cosin => unknown schedule 'cosin': .* Did you mean schedule=cosine\\?
1 train -m seed=0,1 shedule=linear,cosine => unknown option 'shedule'. Did you mean schedule\\?
1 train -m seed=0,1 optimizer.lr=1e-3,fast => optimizer.lr must be a number, not fast
1 train -m seed=[0,1] => seed must be a whole number, not \\[0, 1\\] \\(a sweep .* -m seed=0,1\\)
1 train -m seed=0,1 hydra.sweep.subdir=same => these jobs would be the same run and share its folder
1 train -m resume=run,sweep => resume continues one run, in its own folder: leave out -m
1 train hydra.mode=FOO => hydra.mode=FOO is not possible: .*expected one of \\[RUN, MULTIRUN\\]
1 train hydra.foo=1 => unknown option 'hydra.foo'
1 train hydra.run.dirr=x => Did you mean hydra.run.dir\\?
1 train hydra.job.num_jobs=3 => unknown option 'hydra.job.num_jobs'
1 train hydra.launcher.n_jobs=2 => unknown option 'hydra.launcher.n_jobs'
1 train -m seed=0,1 hydra/launcher=joblib => unknown hydra/launcher 'joblib': choose from basic, pool
1 train -m seed=0,1 hydra/launcher=pool hydra.launcher.n_jobs=2 => Did you mean hydra.launcher.jobs\\?
1 train -m seed=0,1 hydra/launcher=pool hydra.launcher.jobs=two => hydra.launcher.jobs must be a whole number, not two
1 train -m seed=0,1 hydra/launcher=pool hydra.launcher.jobs=0 => hydra.launcher.jobs must be at least 1, not 0
1 train -m seed=0,1 hydra/sweeper=ax => unknown hydra/sweeper 'ax': choose from basic
1 train -m seed=0,1 hydra.sweeper.params=3 => hydra.sweeper.params=3 is not possible
1 train -m seed=0,1 hydra.sweeper.max_batch_size=0 => hydra.sweeper.max_batch_size must be at least 1, not 0
1 train hydra.searchpath=[nowhere] => path=nowhere is not available
1 train hydra.searchpath=nowhere => hydra.searchpath must be a list of strings
1 train --config-dir nowhere => --config-dir nowhere: there is no such folder
1 train --config-dir => --config-dir/-cd: expected one argument
1 train --config-name nothing => there is no config 'nothing': leave out --config-name
1 train --config-path /nowhere => '/nowhere'
1 train --package foo => --package selects what --cfg prints
1 train --cfg foo => invalid choice: 'foo' \\(choose from 'job', 'hydra', 'all'\\)
1 train --info foo => invalid choice: 'foo'
1 train --resolve => --resolve flag can only be used in conjunction with --cfg
1 train --run --multirun => Only one of --run, --multirun
1 train --experimental-rerun x.pickle => loads a pickle, which may run code
1 train 'seed=${optimizer}' => optimizer must be a whole number, not a section
1 train 'seed=${foo}' => \\$\\{foo\\} refers to an option that does not exist
1 train 'seed=${oc.env:NOPE}' => seed: Environment variable 'NOPE' not found
1 train 'seed=${seed}' => seed: Recursive interpolation detected
1 train seed=??? => give seed=..., which has no default
1 sample => give checkpoint=..., which has no default
1 evaluate num_samples=4 => unknown option 'num_samples'
2 report => SWEEP
2 export => out=DIR
"""


@pytest.mark.parametrize("line", SPELLING.strip().splitlines())
def test_a_word_that_hydra_cannot_read_is_refused(refuse: Callable[[str], str], line: str) -> None:
    refuse(line)


@pytest.mark.parametrize("line", NAMES.strip().splitlines())
def test_an_option_or_choice_that_is_not_there_is_refused(refuse: Callable[[str], str], line: str) -> None:
    refuse(line)


@pytest.mark.parametrize("line", HYDRA.strip().splitlines())
def test_a_sweep_or_flag_that_cannot_work_is_refused(refuse: Callable[[str], str], line: str) -> None:
    refuse(line)

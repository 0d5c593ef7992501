"""Values that cannot be: of another type, out of range, or not together with others."""

from collections.abc import Callable

import pytest

TYPES = """
1 train seed=abc => seed must be a whole number, not abc
1 train seed=1.5 => seed must be a whole number, not 1.5
1 train seed=null => seed must be a whole number, not null
1 train seed=true => seed must be a whole number, not true
1 train seed=nan => seed must be a whole number, not nan
1 train seed=inf => seed must be a whole number, not inf
1 train seed={a:1} => seed must be a whole number, not a section
1 train seed=99999999999999999999 => seed must be a whole number, not 9999
1 train seed=1r => seed must be a whole number, not 1r
1 train optimizer.lr=fast => optimizer.lr must be a number, not fast
1 train optimizer.lr=null => optimizer.lr must be a number, not null
1 train optimizer.lr=1/1000 => optimizer.lr must be a number, not 1/1000
1 train optimizer.lr=[1e-3] => optimizer.lr must be a number, not \\[0.001\\]
1 train optimizer.betas=0.9 => optimizer.betas must be a list of 2 numbers
1 train optimizer.betas=[0.9,0.99,0.999] => optimizer.betas must be a list of 2 numbers
1 train trainer.max_steps=1e2x => trainer.max_steps must be a whole number of at least -1
1 train trainer.max_steps=inf => trainer.max_steps must be a whole number of at least -1
1 train trainer.max_steps=null => trainer.max_steps must be a whole number of at least -1
1 train trainer.max_epochs=one => trainer.max_epochs must be a whole number of at least -1 .* or null, not one
1 train trainer.devices=1.5 => trainer.devices must be a whole number, a list of whole numbers such as \\[1,2\\] or auto
1 train trainer.devices=null => trainer.devices must be a whole number
1 train trainer.precision=bf16-true => trainer.precision must be auto, 32-true, bf16-mixed, 16-mixed
1 train trainer.precision=fp16 => trainer.precision must be auto, 32-true
1 train model.channels=64 => model.channels must be a list of whole numbers such as \\[1,2\\], not 64
1 train dataset.flip=maybe => dataset.flip must be true or false, not maybe
1 train compile=2 => compile must be true or false, not 2
1 train label_dropout=nan => label_dropout must be a probability from 0 to 1, not nan
1 train sampler.steps=few callbacks=minimal => sampler.steps must be a whole number, not few
1 train metrics.num_samples=1.5 callbacks=minimal => metrics.num_samples must be a whole number, not 1.5
1 train callbacks.checkpointing.every_n_steps=0.5 => callbacks.checkpointing.every_n_steps must be a whole number
1 train optimize.penalty=x => optimize.penalty must be a number, not x
1 train seeds.init=x => seeds.init must be a whole number, not x
1 train model.channels=[64,x] => model.channels must be a list of whole numbers such as \\[1,2\\], not \\[64, x\\]
1 train sampler.steps=1.5 callbacks=minimal => sampler.steps must be a whole number, not 1.5
1 train -m experiment=search sampler.steps=few => sampler.steps must be a whole number, not few
1 sample run num=ten => num must be a whole number, not ten
1 sample run num=1e20 => num must be a whole number, not 1e\\+20
1 sample run label=cat => label must be a whole number or null, not cat
1 sample run trajectory=maybe => trajectory must be true or false, not maybe
1 sample checkpoint=null => checkpoint must be the path of a run or of a checkpoint, not null
1 sample checkpoint={path:run} => checkpoint must be the path of a run or of a checkpoint, not a section
1 evaluate run sampler.eta=big => sampler.eta must be a number, not big
"""

RANGES = """
1 train seed=-1 => seeds.init \\(seed, unless it is set\\) must be from 0 to 2\\^32 - 1, not -1
1 train trainer.max_steps=-2 => trainer.max_steps must be a whole number of at least -1
1 train trainer.max_steps=-1 => training needs an end: set trainer.max_steps or trainer.max_epochs
1 train trainer.max_steps=-1 trainer.max_epochs=-1 => training needs an end
1 train trainer.devices=0 => trainer.accelerator=cpu with trainer.devices=0 is not possible
1 train trainer.devices=[] => trainer.devices=\\[\\] is not possible
1 train trainer.accelerator=abacus => trainer.accelerator must be auto, cpu, gpu or cuda, not abacus
1 train trainer.num_nodes=0 => trainer.num_nodes must be a whole number of at least 1
1 train trainer.limit_train_batches=0 => trainer.limit_train_batches must be a whole number of at least 1
1 train trainer.accumulate_grad_batches=0 => trainer.accumulate_grad_batches must be a whole number of at least 1
1 train trainer.val_check_interval=0 => trainer.val_check_interval must be a whole number of at least 1, a fraction
1 train trainer.val_check_interval=0.5 trainer.check_val_every_n_epoch=null => needs trainer.check_val_every_n_epoch=1
1 train trainer.gradient_clip_val=-1 => trainer.gradient_clip_val must be a number of at least 0 or null, not -1
1 train trainer.gradient_clip_val=nan => trainer.gradient_clip_val must be a number of at least 0 or null, not nan
1 train optimizer.lr=-1 => optimizer.lr must be a finite number of at least 0, not -1
1 train optimizer.lr=nan => optimizer.lr must be a finite number of at least 0, not nan
1 train optimizer.lr=1e400 => optimizer.lr must be a finite number of at least 0, not inf
1 train optimizer.warmup_steps=-1 => optimizer.warmup_steps
1 train optimizer.betas=[1.5,0.9] => optimizer.betas
1 train ema.decay=2 => ema.decay must lie in \\[0, 1\\), not 2
1 train dataset.batch_size=0 => dataset.batch_size must be a whole number of at least 1, not 0
1 train dataset.num_workers=-1 => dataset.num_workers must be from 0 to 512, not -1
1 train dataset.num_workers=1000000 => dataset.num_workers must be from 0 to 512, not 1000000
1 train dataset.image_size=0 => dataset.image_size must be at least 1, not 0
1 train dataset.image_size=1e6 => dataset.image_size must be at most 8192, not 1000000
1 train model.channels=[16,-16] => model.channels must be widths of at least 1
1 train model.channels=[1e9,16] => model.channels must be widths of at most 8192
1 train model.channels=[] => model.channels must be widths of at least 1
1 train model.blocks=0 => model.blocks must be at least 1, not 0
1 train model.blocks=1e9 => model.blocks must be at most 100, not 1000000000
1 train model.attention_levels=[5] => model.attention_levels \\[5\\] do not exist: there are levels 0 to 1
1 train model.dropout=2 => model.dropout
1 train model.num_classes=5 => model.num_classes=5, but dataset mnist has 10 classes: set model.num_classes=10
1 train schedule.num_steps=0 => schedule.num_steps
1 train loss=huber loss.delta=0 => loss.delta
1 train weighting=min_snr weighting.gamma=-1 => weighting.gamma
1 train sampler.steps=-1 => sampler.steps must be at least 1, not -1
1 train sampler.steps=1e9 => sampler.steps=1000000000 is too many for grid=uniform: .* use at most
1 train sampler.t_max=2 => sampler.t_max
1 train metrics.num_samples=7 => must be at least metrics.kid_subset_size=8
1 train metrics.kid_subset_size=0 callbacks=minimal => metrics.kid_subset_size must be at least 2, not 0
1 train callbacks.sample_grid.num_samples=0 => callbacks.sample_grid.num_samples must be at least 1, not 0
1 train label_dropout=-0.1 => label_dropout must be a probability from 0 to 1
1 train weights=best => unknown weights 'best': this model has ema, raw
1 train guidance=classifier_free => needs a class-conditional model
1 train guidance=classifier_free model.num_classes=10 guidance.rescale=2 => guidance.rescale must lie in
1 train loss=hybrid => does not learn: set variance=learned_range
1 train variance=learned_range => only the variational bound trains variance=learned_range: set loss=hybrid
1 train loss=vlb => set timesteps=uniform_discrete timesteps.num_steps=1000
1 train variance=fixed_large => is of the variational bound, which this loss lacks: set loss=vlb
1 train loss=vlb timesteps=uniform_discrete weighting=min_snr => weights of their own: set weighting=constant
1 train loss=vlb timesteps=uniform_discrete predict=image => has to be what the network predicts: set loss_on=image
1 train loss=vlb timesteps=uniform_discrete schedule=flow => no signal to compute the loss from. Take another predict
1 train loss=vlb timesteps=uniform_discrete schedule=linear schedule.zero_terminal_snr=true => no signal to compute
1 train loss=vlb timesteps=uniform_discrete schedule=linear_rates => this schedule adds none from t = 0
1 train loss=vlb timesteps=uniform_discrete loss.num_steps=4000 timesteps.num_steps=4000 => to at most 1000
1 train loss=vlb timesteps=importance timesteps.num_steps=9 => timesteps.num_steps=1000 \\(timesteps=importance has
1 train timesteps=importance timesteps.num_steps=2000 => below t = 0.001, .*: set timesteps.num_steps to at most 1000
1 train timesteps=importance timesteps.num_steps=1e9 => timesteps.num_steps must be at most 10000, not 1000000000
1 train timesteps=importance timesteps.history=0 => timesteps.history must be from 1 to 1000, not 0
1 train timesteps=importance timesteps.history=1e9 => timesteps.history must be from 1 to 1000, not 1000000000
1 train timesteps=importance timesteps.uniform_share=0 => timesteps.uniform_share must be above 0 and at most 1, not 0
1 train timesteps.uniform_share=0.1 => uniform_share
1 train variance.value=2 => variance.value must lie in \\[0, 1\\], not 2
1 train sampler=ddpm sampler.variance=learned => needs a model that learns it: train with variance=learned_range
1 train self_conditioning=maybe => self_conditioning must be true or false, not maybe
1 evaluate run guidance=classifier_free guidance.level_min=-1 => guidance.level_min must be at least 0, not -1
1 sample run sampler=ddpm sampler.variance=learned => needs a model that learns it: train with variance=learned_range
1 sample run variance=learned_range => variance
1 sample run sampler.variance=learned => has no option 'variance'
1 train metrics=likelihood => metrics=likelihood measures a checkpoint: train without it, then python evaluate.py
1 train task=classifier loss=mae => loss has no effect on a classifier: leave it out, or choose task=denoising
1 train task=classifier loss.delta=1 => 'loss.delta' has no effect with task=classifier: leave it out
1 train task=classifier label_dropout=0.3 => 'label_dropout' has no effect with task=classifier: leave it out
1 train task=classifier metrics.num_samples=9 => 'metrics.num_samples' has no effect with task=classifier
1 train task=classifier predict=noise => predict has no effect on a classifier
1 train task=classifier callbacks=default => callbacks.sample_grid draws samples, which a classifier cannot
1 train task=classifier dataset=gradients dataset/split=val_from_train => gradients has no labels for a classifier
1 train task=classifier model=unet_small => does not classify: choose model=adm_classifier_small, or task=denoising
1 train task=classifier callbacks.checkpointing.monitor=val/noise_mae => that this run does not log: it logs .*accuracy
1 train model=adm_classifier_small => removes no noise, but classifies: choose another one, or task=classifier
1 train callbacks=classifier => callbacks.accuracy is for task=classifier
1 train task=classifying => unknown task 'classifying': choose from classifier, denoising
1 train guidance=classifier => guidance=classifier needs a classifier: set guidance.classifier=RUN
1 train guidance=classifier guidance.classifier=nowhere => guidance.classifier=nowhere: there is no checkpoint or run
1 sample run guidance=classifier => guidance=classifier needs a classifier: set guidance.classifier=RUN
1 sample run guidance=classifier guidance.classifier=nowhere => guidance.classifier=nowhere: there is no checkpoint
1 evaluate run guidance=classifier guidance.classifier=run => guidance.classifier=.*last.ckpt is a denoiser: name a run
1 evaluate run guidance.classifier=run => has no option 'classifier'
1 evaluate run metrics=accuracy => metrics=accuracy is for python train.py task=classifier
1 sample run task=classifier => 'task' cannot be changed here: task comes from the checkpoint
1 train sampler=from_checkpoint => sampler=from_checkpoint is for evaluate.py and sample.py
1 sample run num=0 => num must be at least 1, not 0
1 sample run num=1e12 => there is not enough memory for [0-9]+ bytes: lower the number of images
1 sample run label=99 => label=99 does not exist: this model has the classes 0 to 9
1 sample run format=jpg => unknown format 'jpg': choose from grid, npz, folder
1 sample run draw=cat => unknown draw 'cat': choose from forward_and_reverse, inpainted, interpolation
1 sample run draw=variations => draw.image
1 sample run draw=interpolation draw.rows=0 => draw.rows must be at least 1, not 0
1 sample run draw=interpolation draw.frames=many => draw.frames must be a whole number, not many
1 sample run draw=interpolation draw.image=a.png => image
1 sample run draw=interpolation num=9 => num is an option of samples, which draw=... replaces: leave out one
1 sample run draw=interpolation label=10 => label=10 does not exist: this model has the classes 0 to 9
1 sample run draw=variations draw.image=a.png => the image a.png cannot be read: the file is missing
1 sample run draw=variations draw.image=a.png draw.t=0.5 => draw.t must be a list
1 sample run draw=variations draw.image=a.png draw.t=[0] => draw.t must be times above 0 and at most 1, not \\[0
1 sample run draw.rows=3 => draw
1 sample run draw=noise_embedding draw.frames=3 => frames
1 sample run seed=-1 => seed must lie in \\[0, 2\\^32\\), not -1
1 sample run weights=best => unknown weights 'best': this model has ema, raw
1 sample run trainer.devices=0 => trainer.devices=0 is not possible
1 evaluate run metrics.num_samples=1 => metrics.num_samples=1 and .* must be at least metrics.kid_subset_size
1 evaluate run metrics.kid_subset_size=0 => metrics.kid_subset_size must be at least 2, not 0
1 evaluate run metrics=likelihood metrics.num_images=1 => metrics.num_images must be at least 2, not 1
1 evaluate run metrics=likelihood metrics.num_images=few => metrics.num_images must be a whole number, not few
1 evaluate run metrics=likelihood metrics.ode.steps=0 => metrics.ode.steps must be at least 1, not 0
1 evaluate run metrics=likelihood metrics.ode.steps=null => metrics.ode.steps must be at least 1, not null
1 evaluate run metrics=likelihood metrics.bound.v=2 => metrics.bound.v must lie in \\[0, 1\\], not 2
1 evaluate run metrics=likelihood metrics.bound=null metrics.ode=null => measures nothing: leave out one of them
1 evaluate run trainer.devices=two => trainer.devices must be a whole number
1 report sweep by=foo => no run has the option foo of by=: these runs have
1 report sweep by=seed => by=seed: seeds are never rows
1 report sweep metric=foo => unknown metric 'foo': these runs have kid, fid
1 export run => say which folder to write, as in out=my_model
1 export run out=m format=onnx => unknown format 'onnx': choose from safetensors, diffusers
1 export run out=m weights=best => unknown weights 'best': choose from ema, raw
1 export run out=m format=diffusers => format=diffusers cannot hold this model
1 export run sweep out=m => name one run or checkpoint at a time, not run and sweep
"""


@pytest.mark.parametrize("line", TYPES.strip().splitlines())
def test_a_value_of_another_type_is_refused(refuse: Callable[[str], str], line: str) -> None:
    refuse(line)


@pytest.mark.parametrize("line", RANGES.strip().splitlines())
def test_a_value_out_of_range_is_refused(refuse: Callable[[str], str], line: str) -> None:
    refuse(line)

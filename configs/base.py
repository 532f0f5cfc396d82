"""Every key of a configuration, with its default; a config in this folder changes a few of them.

Any key can be set on the command line, e.g. --config.train.epochs=10 --config.sweep.lam=0,0.1,1
"""

import dataclasses

from ml_collections import ConfigDict, FieldReference

from data_pipelines.log_mel import LogMel


def get_config() -> ConfigDict:
    """The defaults."""
    config = ConfigDict()

    config.method = 'dann'  # a file of jaxser/methods: erm (plain training) | dann (domain-adversarial training)
    config.domain = 'speaker'  # what dann forgets: speaker | language | corpus
    config.domain_hidden = 64  # width of the hidden layer of dann's domain head

    config.data = ConfigDict()
    config.data.dir = 'data'  # where `python -m data_pipelines.prepare` put the shards
    config.data.corpora = ('demo',)  # names of data_pipelines/corpora
    config.data.labels = 'native'  # the label space: native | four (angry, happy + excited, neutral, sad)
    config.data.features = ConfigDict(dataclasses.asdict(LogMel()))  # which shards: rate, window, hop, bands, low, high, floor
    config.data.normalise = 'global'  # zero mean and unit variance per band: global (of the fold's training part) | utterance |
    # speaker (of a test speaker's own audio too: transductive)
    config.data.frames = 300  # frames of a training example: longer utterances are cut at random, shorter ones padded
    config.data.batch = 32  # training examples of a fold per step
    config.data.eval_batch = 32  # whole utterances of a fold per scoring step; changes no prediction
    config.data.resident = 'auto'  # all features stay on the device: on | off (they are streamed) | auto (on if they fit)
    config.data.order_seed = 0  # the order of the training data; `seed` is initialisation, dropout and augmentation

    config.protocol = ConfigDict()
    config.protocol.name = 'speaker_folds'  # speaker_folds | leave_one_speaker_out | leave_one_session_out
    config.protocol.folds = 5  # parts of speaker_folds; one is tested, the next is dev, the others train
    config.protocol.allow_leak = ''  # set by --allow_leak: leaks to go on with, of speaker and audio (data_pipelines/audit.py)

    config.model = ConfigDict()
    config.model.name = 'tdnn_lstm'  # a file of jaxser/models
    # Of each layer (kernel, dilation, stride); with these strides the LSTM sees every 4th frame.
    config.model.tdnn = ((5, 1, 2), (3, 1, 2), (3, 1, 1))
    config.model.width = 64  # channels of a TDNN layer
    config.model.hidden = 64  # of the LSTM
    config.model.dim = 64  # of the representation

    config.train = ConfigDict()
    config.train.epochs = 30
    config.train.warmup = 0.1  # share of the training over which the learning rate rises; then it falls as half a cosine
    config.train.clip = 5.0  # largest norm of the gradient of the encoder, and of each head
    config.train.balanced = True  # the emotion loss weighs the classes equally, whatever their counts in training
    config.train.select = 'best dev UAR'  # or 'last epoch'
    config.train.select_from = 0.5  # no epoch before this share of the training is selected: lam is still rising
    config.train.checkpoint_seconds = 10.0  # at least so long between two checkpoints; 0 is every epoch

    # What is swept, as tuples: the runs are the product. () is the default of the method that has the knob, and none for others.
    config.sweep = ConfigDict()
    config.sweep.lam = ()  # dann: the coefficient of gradient reversal
    config.sweep.domain_weight = ()  # dann: the weight of the domain loss, in its head and, times lam, in the encoder
    config.sweep.lr = (2e-3,)  # peak learning rate of AdamW
    config.sweep.weight_decay = (1e-2,)
    config.sweep.dropout = (0.1,)
    config.sweep.time_mask = (0.1,)  # SpecAugment: the widest stripe of frames masked, as a share of the utterance; two are drawn
    config.sweep.band_mask = (0.1,)  # likewise of the mel bands
    config.sweep.seed = (0,)
    config.sweep.fold = FieldReference('all', field_type=object)  # or the numbers of some folds: 2, (0, 2)
    # A list instead: dictionaries such as ({'lam': 0.1, 'lr': 1e-3}, {'lam': 1.0, 'lr': 3e-4}), each crossed with the rest.
    config.sweep.runs = ()
    # Structural keys: a program for each value, all in one table. () is the value of the key itself.
    config.sweep.method = ()
    config.sweep.domain = ()
    config.sweep.model = ConfigDict()
    config.sweep.model.width = ()
    config.sweep.model.hidden = ()
    config.sweep.model.dim = ()

    config.parallel = 'jit'  # how runs are spread over devices: jit (over a mesh) | pmap (the same result)
    config.data_devices = 1  # devices that share the batch of a run, BatchNorm over all of it; more runs side by side is faster
    config.matmul_precision = 'default'  # default | high | highest: what float32 products mean on TPU and GPU

    return config.lock()

"""Every key of a configuration, with its default; a config in this folder changes a few of them.

Any key can be set on the command line, e.g. --config.train.epochs=10 --config.sweep.lam=0,0.1,1
"""

import dataclasses

from ml_collections import ConfigDict, FieldReference

from data_pipelines.features.log_mel import LogMel


def get_config() -> ConfigDict:
    """The defaults."""
    config = ConfigDict()

    # A file of jaxser/methods: erm (plain training) | dann (domain-adversarial training) | cdann (an adversary per emotion) |
    # confusion (an undecided domain head) | crossgrad (perturbed features) | labelgrad (its control, without domain) |
    # speaker_norm (ascent on the speaker loss of batches of its own) | leace (linear erasure after plain training); and, for a
    # target of which config.protocol.adapt lets training hear: coral (covariances) | mmd (kernels) | didan (sparse mixtures).
    config.method = 'dann'
    config.domain = 'speaker'  # what a domain head tells apart: speaker | language | corpus, or several: 'speaker+language'
    config.domain_hidden = 64  # width of the hidden layer of a domain head
    config.speaker_norm = 'tap'  # what speaker_norm moves up the speaker loss: tap (the encoder) | snp (a layer of its own on z)

    config.probe = True  # at the end, fresh classifiers ask each run's representation who speaks (jaxser/probe.py)

    config.data = ConfigDict()
    config.data.dir = 'data'  # where `python -m data_pipelines.prepare` put the shards
    config.data.corpora = (
        'demo',
    )  # names of data_pipelines/corpora; not used by source_target, which names its own
    # The label space, of data_pipelines/labels.py: native | four (angry, happy + excited, neutral, sad) | emodb_enterface |
    # emodb_casia | enterface_casia | arousal | valence (from the emotion) | rated_arousal | rated_valence | rated_dominance
    # (from listeners' ratings).
    config.data.labels = 'native'
    config.data.only = ''  # utterances whose column has that value, or one of several: 'style=improvised', 'language=en,fr'
    config.data.features = ConfigDict(
        dataclasses.asdict(LogMel())
    )  # which shards: rate, window, hop, bands, low, high, floor
    # Instead of log-mel the states of a pretrained encoder, as `prepare --features upstream:FOLDER` made them: the beginning of
    # their name, e.g. 'whisper'.
    config.data.upstream = ''
    # Zero mean and unit variance per band: global (of the fold's training part) | utterance | speaker (of whom training hears; a
    # stranger by the utterance alone) | speaker_transductive (of all that a speaker says, in the test part too). none.
    config.data.normalise = 'global'
    config.data.frames = 300  # frames of a training example: longer utterances are cut at random, shorter ones padded
    config.data.batch = 32  # training examples of a fold per step
    config.data.eval_batch = (
        32  # whole utterances of a fold per scoring step; changes no prediction
    )
    config.data.resident = 'auto'  # all features stay on the device: on | off (they are streamed) | auto (on if they fit)
    config.data.order_seed = (
        0  # the order of the training data; `seed` is initialisation, dropout and augmentation
    )

    config.protocol = ConfigDict()
    # speaker_folds | leave_one_speaker_out | leave_one_session_out: one part is tested, the next is dev, the others train
    # leave_one_corpus_out | leave_one_language_out | source_target: the target is tested, the source trains, a fifth of the
    # source's speakers are dev
    # official: the release's own partition | speaker_dependent: random utterances, test speakers are training speakers
    config.protocol.name = 'speaker_folds'
    config.protocol.folds = (
        5  # parts of speaker_folds and speaker_dependent, and of a target to which training adapts
    )
    config.protocol.source = ()  # of source_target: names of corpora, e.g. ('emodb',)
    config.protocol.target = ()
    # What training hears without its emotion, as half of every batch: none | others (speakers of the target who are not tested;
    # each is tested in one fold) | transductive (the test part itself).
    config.protocol.adapt = 'none'
    # Of speaker_norm: corpora whose speakers fill the identity batches, e.g. ('ravdess',), in place of those that training hears.
    # They are read beside data.corpora and have no other part; their emotions are not used, `global` normalises them as the rest.
    config.protocol.identity = ()
    config.protocol.test = 'test'  # of the official split, which part is tested: test, test2, ...
    config.protocol.allow_leak = ''  # set by --allow_leak: leaks that the audit lets pass, and every result names: speaker, audio

    config.model = ConfigDict()
    config.model.name = 'tdnn_lstm'  # a file of jaxser/models: tdnn_lstm | cnn | layer_sum (over data.upstream) | fine_tuned
    # BatchNorm's statistics, where a target is heard: joint (of source and target together) | separate (each side by its own, one
    # running set) | domain (each by its own, in testing too) | source (the source's alone) | none (nothing is normalised).
    config.model.batch_norm = 'joint'
    # tdnn_lstm:
    # Of each layer (kernel, dilation, stride); with these strides the LSTM sees every 4th frame.
    config.model.tdnn = ((5, 1, 2), (3, 1, 2), (3, 1, 1))
    config.model.width = 64  # channels of a TDNN layer
    config.model.hidden = 64  # of the LSTM
    # cnn:
    config.model.channels = (8, 16, 32)  # of each block, which halves the frames and the bands
    # layer_sum:
    config.model.states = ''  # filled in: the name of what data.upstream found
    # fine_tuned, a pretrained encoder that learns within the step (jaxser/models/fine_tuned.py):
    config.model.upstream = (
        ''  # its Hugging Face folder; prepare with --features upstream:FOLDER --states heard
    )
    config.model.weights = ''  # filled in: what tells its weights from others
    config.model.lora = 0  # 0: all of its transformer learns; r: changes of rank r of queries and values, all else is frozen
    config.model.upstream_rate = 0.05  # what part of sweep.lr its weights take
    config.model.layer_decay = 1.0  # what part of that the next lower layer takes, and so on down
    config.model.bfloat16 = (
        False  # products of bfloat16, summed in float32; parameters stay float32
    )
    config.model.remat = False  # layers are computed again on the way back: slower, in less memory
    config.model.accumulate = (
        1  # parts of a batch that go through it one after another; their gradients add up
    )
    # All:
    config.model.dim = 64  # of the representation

    config.train = ConfigDict()
    config.train.epochs = 30
    config.train.warmup = 0.1  # share of the training over which the learning rate rises; then it falls as half a cosine
    config.train.optimizer = 'adamw'  # or 'sgd', plain descent (set sweep.lr to about 0.1); both with the course of `warmup`
    config.train.clip = 5.0  # largest norm of the gradient of the encoder, and of each head
    config.train.balanced = (
        True  # the emotion loss weighs the classes equally, whatever their counts in training
    )
    config.train.select = 'best dev UAR'  # or 'last epoch'
    config.train.select_from = (
        0.5  # no epoch before this share of the training is selected: lam is still rising
    )
    config.train.checkpoint_seconds = (
        10.0  # at least so long between two checkpoints; 0 is every epoch
    )

    # What is swept, as tuples: the runs are the product. () is the default of the method that has the knob, and none for others.
    config.sweep = ConfigDict()
    # Which part of a fold's training part is trained on, in this order; () is all. dev and test stay whole, and an epoch takes as
    # many steps as over all of it. Nested: 4 speakers are among 8; a function of data.order_seed and the fold alone.
    config.sweep.speakers = ()  # so many, of each sex alike where it is known
    config.sweep.confounded = ()  # 0 to 1: each speaker is given a class, and of his other utterances this share is left out
    config.sweep.per_class = ()  # at most so many utterances of a class
    # dann, cdann: the coefficient of gradient reversal; confusion, coral, mmd, didan: their loss's weight; speaker_norm: its step
    config.sweep.lam = ()
    config.sweep.domain_weight = ()  # dann, cdann: the weight of the domain loss, in its head and, times lam, in the encoder
    config.sweep.eps = ()  # crossgrad, labelgrad: how far features are moved, in gradients
    config.sweep.alpha = ()  # crossgrad, labelgrad: the share of the moved features in the loss, 0 to 1
    config.sweep.tau = ()  # didan: how sparse the mixtures are
    config.sweep.lr = (2e-3,)  # peak learning rate of AdamW
    config.sweep.weight_decay = (1e-2,)
    config.sweep.dropout = (0.1,)
    config.sweep.time_mask = (
        0.1,
    )  # SpecAugment: the widest stripe of frames masked, as a share of the utterance; two are drawn
    config.sweep.band_mask = (0.1,)  # likewise of the mel bands
    config.sweep.seed = (0,)
    config.sweep.fold = FieldReference(
        'all', field_type=object
    )  # or the numbers of some folds: 2, (0, 2)
    # A list instead: dictionaries such as ({'lam': 0.1, 'lr': 1e-3}, {'lam': 1.0, 'lr': 3e-4}), each crossed with the rest.
    config.sweep.runs = ()
    # Structural keys: a program for each value, all in one table. () is the value of the key itself.
    config.sweep.method = ()
    config.sweep.domain = ()
    config.sweep.speaker_norm = ()
    config.sweep.model = ConfigDict()
    config.sweep.model.width = ()
    config.sweep.model.hidden = ()
    config.sweep.model.dim = ()
    config.sweep.model.batch_norm = ()
    config.sweep.model.lora = ()

    config.parallel = (
        'jit'  # how runs are spread over devices: jit (over a mesh) | pmap (the same result)
    )
    config.data_devices = 1  # devices that share the batch of a run, BatchNorm over all of it; more runs side by side is faster
    config.matmul_precision = (
        'default'  # default | high | highest: what float32 products mean on TPU and GPU
    )

    return config.lock()

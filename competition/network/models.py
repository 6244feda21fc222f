"""Config → an uncompiled Keras model: images in, ten logits out.

Input shape: (batch, 28, 28, 1), pixels 0…255 as read; the model scales them to [0, 1] itself.
Output shape: (batch, 10), float32 logits.
"""

from competition.config import Config
from competition.network.device import keras

layers, ops = keras.layers, keras.ops


def build_model(config: Config) -> keras.Model:
    """Build the network that `config.architecture` names, with fresh weights."""
    image = keras.Input((28, 28, 1), name="image")
    features = ARCHITECTURES[config.architecture](layers.Rescaling(1 / 255)(image), config)
    if config.dropout:
        features = layers.Dropout(config.dropout)(features)
    logits = layers.Dense(10, dtype="float32", name="logits")(features)
    return keras.Model(image, logits, name=config.architecture)


class StandardizedConv2D(layers.Layer):
    """Convolution with standardized weights, then ReLU: a network that needs no batch normalization.

    Each filter's weights are brought to mean 0 and to the variance that keeps the activations' variance
    through a ReLU, times a learned gain (scaled weight standardization: Brock, De and Smith 2021,
    https://arxiv.org/abs/2101.08692). The work is on the weights, of which there are few, not on the
    activations, of which there are many: a training step takes half the time of one with batch
    normalization, and convolution, bias and ReLU become one oneDNN operation. In the time of 12 epochs with
    batch normalization 24 of these reach fewer errors.

    The kernel is kept as a matrix (height · width · channels, filters): the shape in which Muon, Keras's
    optimizer for matrices, takes it.

    Args:
        filters: output channels.
        kernel_size: side of the square kernel.
        strides: either way.
        padding: `same` or `valid`.
    """

    def __init__(self, filters: int, kernel_size: int, strides: int = 1, padding: str = "same", **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.strides, self.padding = filters, kernel_size, strides, padding

    def build(self, input_shape):
        """Create kernel, gain and bias, in float32 whatever the precision of the computation."""
        self.fan_in = self.kernel_size**2 * input_shape[-1]
        shape = (self.fan_in, self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="he_normal", autocast=False)
        self.gain = self.add_weight(name="gain", shape=(self.filters,), initializer="ones", autocast=False)
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros", autocast=False)

    def standardized_kernel(self):
        """The kernel (height, width, channels, filters) that an ordinary convolution would need to do the same."""
        mean = ops.mean(self.kernel, axis=0)
        variance = ops.var(self.kernel, axis=0)
        # 1.7 ≈ sqrt(2 / (1 - 1/π)): what a ReLU takes from the standard deviation of a normal variable
        kernel = (self.kernel - mean) * (ops.rsqrt(variance * self.fan_in + 1e-4) * 1.7 * self.gain)
        return ops.reshape(kernel, (self.kernel_size, self.kernel_size, -1, self.filters))

    def call(self, x):
        """Shape (batch, height, width, channels) in, (batch, height', width', filters) out."""
        x = ops.conv(x, ops.cast(self.standardized_kernel(), x.dtype), strides=self.strides, padding=self.padding)
        return ops.relu(x + ops.cast(self.bias, x.dtype))


class StackedNetworks(keras.Model):
    """Several networks as one, which a single call asks: six calls of `predict` take forty times as long.

    Input shape: (batch, 28, 28, 1), pixels 0…255.
    Output shape: (batch, networks, 10), float32 probabilities.

    Args:
        networks: as `build_model` makes them.
    """

    def __init__(self, networks: list[keras.Model]):
        super().__init__(dtype="float32")
        self.networks = networks

    def call(self, images):
        """What each of them says."""
        return ops.stack([ops.softmax(network(images)) for network in self.networks], axis=1)


def with_plain_layers(model: keras.Model) -> keras.Model:
    """The same function of images, made of Keras's own layers alone: for programs without this package."""

    def plain(layer):
        if not isinstance(layer, StandardizedConv2D):
            return layer.__class__.from_config(layer.get_config())
        shape = layer.filters, layer.kernel_size, layer.strides, layer.padding
        return layers.Conv2D(*shape, activation="relu", name=layer.name)

    copy = keras.models.clone_model(model, clone_function=plain)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, StandardizedConv2D):
            weights = [ops.convert_to_numpy(layer.standardized_kernel()), ops.convert_to_numpy(layer.bias)]
        copy.get_layer(layer.name).set_weights(weights)
    return copy


def channels_of(count: int, config: Config) -> int:
    """A layer's channels times the recipe's width; oneDNN computes in blocks of 8 and more."""
    return max(8, 8 * round(count * config.width / 8))


def pooled(x, config: Config):
    """A strided 5×5 stem, then 3×3 convolutions at 12×12, 6×6 and 3×3.

    Without padding the stem turns 28×28 into 12×12 at once: a third fewer multiplications than 14×14 and
    nothing lost but the margin, which is empty.
    """
    x = StandardizedConv2D(channels_of(32, config), 5, strides=2, padding="valid")(x)
    return after_the_stem(x, config, StandardizedConv2D)


def fine(x, config: Config):
    """As `pooled`, with a stem at full size, pooled from 24×24 to 12×12.

    A stem in strides of two sees a picture otherwise when it is moved by a pixel. This one takes a tenth more time. On
    single pictures it errs less often for some seeds; averaged over views the two are alike within the noise.
    """
    x = StandardizedConv2D(channels_of(32, config), 5, padding="valid")(x)
    return after_the_stem(layers.MaxPooling2D(2)(x), config, StandardizedConv2D)


def normalized(x, config: Config):
    """As `pooled`, with batch normalization (Ioffe and Szegedy 2015) in place of standardized weights."""

    def convolve(filters, kernel_size, **where):
        convolution = layers.Conv2D(filters, kernel_size, use_bias=False, kernel_initializer="he_normal", **where)
        return lambda x: layers.ReLU()(layers.BatchNormalization(momentum=0.95)(convolution(x)))

    x = convolve(channels_of(32, config), 5, strides=2, padding="valid")(x)
    return after_the_stem(x, config, lambda filters, size: convolve(filters, size, padding="same"))


def residual(x, config: Config):
    """A residual step at each of 28×28, 14×14, 7×7 and 4×4, as in Todd Doucet's MNIST notebook; width 4 is his.

    He has batch normalization and Adam. Here standardized weights keep the variance; a sum of two doubles it, and it is
    halved again.
    """

    def step(x):
        return layers.Rescaling(0.5**0.5)(layers.Add()([x, StandardizedConv2D(x.shape[-1], 3)(x)]))

    x = step(StandardizedConv2D(channels_of(32, config), 5)(x))
    x = step(layers.MaxPooling2D(2)(x))
    for channels in (64, 128):
        x = StandardizedConv2D(channels_of(channels, config), 3)(x)
        x = step(layers.MaxPooling2D(2, padding="same")(x))
    return layers.GlobalAveragePooling2D()(x)


def after_the_stem(x, config: Config, convolution):
    """3×3 convolutions at 12×12, 6×6 and 3×3, pooled in between and averaged at the end."""
    x = convolution(channels_of(48, config), 3)(x)
    x = layers.MaxPooling2D(2)(x)
    x = convolution(channels_of(96, config), 3)(x)
    x = convolution(channels_of(96, config), 3)(x)
    x = layers.MaxPooling2D(2)(x)
    x = convolution(channels_of(128, config), 3)(x)
    return layers.GlobalAveragePooling2D()(x)


def lenet(x, config: Config):
    """Convolutions, max-pooling and a dense layer, as every tutorial has them since LeNet."""
    for channels in (32, 64):
        x = layers.Conv2D(channels_of(channels, config), 3, activation="relu")(x)
        x = layers.MaxPooling2D(2)(x)
    return layers.Dense(channels_of(64, config), activation="relu")(layers.Flatten()(x))


def shallow(x, config: Config):
    """One convolution, then a quarter dropped, and a dense layer."""
    x = layers.Conv2D(channels_of(32, config), 3, activation="relu")(x)
    x = layers.Dropout(0.25)(layers.MaxPooling2D(2)(x))
    return layers.Dense(channels_of(128, config), activation="relu")(layers.Flatten()(x))


def dense(x, config: Config):
    """Two dense layers of 512, with dropout between them where the recipe has any."""
    x = layers.Dense(channels_of(512, config), activation="relu")(layers.Flatten()(x))
    if config.dropout:
        x = layers.Dropout(config.dropout)(x)
    return layers.Dense(channels_of(512, config), activation="relu")(x)


def reference(x, config: Config):
    """The net of the best public recipe: 327k parameters, most of the work at 28×28 and 14×14."""
    for channels in (32, 64):
        for size, strides, padding in ((3, 1, "valid"), (3, 1, "valid"), (5, 2, "same")):
            x = layers.Conv2D(channels_of(channels, config), size, strides, padding, activation="relu")(x)
            x = layers.BatchNormalization()(x)
        x = layers.Dropout(config.dropout)(x)
    x = layers.Conv2D(channels_of(128, config), 4, activation="relu")(x)
    return layers.Flatten()(layers.BatchNormalization()(x))


ARCHITECTURES = {
    function.__name__: function for function in (pooled, fine, normalized, residual, lenet, shallow, dense, reference)
}

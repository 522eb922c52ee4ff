#!/usr/bin/env python3
"""Times the network of Table 1 (Gillet et al. 2019) in Keras on TensorFlow; prints JSON.

A step is what it is for dawn21: reading images from memory-mapped cubes, clipping and scaling, forward pass,
and in training loss, backward pass and RMSprop.

    python benches/peers/keras_tensorflow.py --data DATA [--mode training|inference] [--jit]
        [--chunk N] [--batch N] [--image ROWS,COLUMNS] [--steps N] [--threads N]
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from light_cones import CLIP_MK, LightCones, arguments, image_shape, measure


def network(rows, columns):
    """Table 1 as dawn21's preset `gillet2019` has it, channels last."""
    return keras.Sequential(
        [
            keras.Input((rows, columns, 1)),
            layers.Conv2D(8, 10),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 10),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(64),
            layers.ReLU(),
            layers.BatchNormalization(momentum=0.99, epsilon=1e-3),
            layers.ReLU(),
            layers.Dense(16),
            layers.ReLU(),
            layers.Dense(8),
            layers.ReLU(),
            layers.Dense(4),
        ]
    )


def main():
    parser = arguments(__doc__.split("\n", 1)[0])
    parser.add_argument("--jit", action="store_true", help="through XLA")
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(21)
    rows, columns = image_shape(options)
    light_cones = LightCones(options.data, rows, columns)

    model = network(rows, columns)
    optimizer = keras.optimizers.RMSprop(learning_rate=1e-3, rho=0.9, epsilon=1e-7)
    optimizer.build(model.trainable_variables)

    cells = np.empty((options.batch, rows, columns), np.float32)
    targets = np.empty((options.batch, 4), np.float32)

    def scaled(x):
        low, high = CLIP_MK
        return (tf.clip_by_value(x, low, high)[..., tf.newaxis] - low) * (1.0 / (high - low))

    @tf.function(jit_compile=options.jit)
    def train(x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(scaled(x), training=True) - y))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    @tf.function(jit_compile=options.jit)
    def predict(x):
        return model(scaled(x), training=False)

    def training():
        light_cones.read(cells, targets)
        return float(train(tf.convert_to_tensor(cells), tf.convert_to_tensor(targets)))

    def inference():
        light_cones.read(cells, targets)
        chunk = options.chunk or options.batch
        parts = (cells[i : i + chunk] for i in range(0, options.batch, chunk))
        return np.concatenate([predict(tf.convert_to_tensor(part)).numpy() for part in parts])

    measure(
        options,
        training if options.mode == "training" else inference,
        peer=f"Keras {keras.__version__} on TensorFlow {tf.__version__}",
        layout="channels_last",
        compiled=options.jit,
        trainable_parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
    )


if __name__ == "__main__":
    main()

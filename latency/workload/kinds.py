"""Kinds of operations: classify those of torch and of Core ML.

A network has the same kinds whichever way its workload was read:

| kind | what it does |
|---|---|
| convolution | multiplies each window of its input with a weight; transposed ones too |
| depthwise | a convolution in groups of channels |
| matmul | any other matrix product; recurrent layers are matrix products |
| attention | softmax(QK^T)V in one operation |
| normalisation | divides by a statistic of its input: norms, softmax |
| movement | puts numbers elsewhere in memory: transposes, concatenation, padding, resizing |
| gather | reads or writes where indices say: embeddings, sampling |
| elementwise | everything else: arithmetic, activations, pools, reductions |
"""

Names = frozenset[str]


def _kinds(names_of: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {name: kind for kind, names in names_of.items() for name in names}


# What aten calls an operation -> its kind; what is not here is elementwise, or a matrix product
# where torch counts FLOPs of it.
ATEN = _kinds(
    {
        "convolution": (
            *("conv1d", "conv2d", "conv3d", "convolution"),
            *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
        ),
        "matmul": ("einsum", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm"),
        "attention": ("scaled_dot_product_attention", "flex_attention"),
        "normalisation": (
            *("group_norm", "layer_norm", "batch_norm", "instance_norm", "rms_norm"),
            *("native_layer_norm", "native_group_norm", "_fused_rms_norm"),
            *("softmax", "log_softmax", "_softmax", "_log_softmax", "_safe_softmax"),
        ),
        "movement": (
            *("permute", "transpose", "t", "numpy_T", "mT", "mH", "adjoint"),
            *("movedim", "moveaxis", "swapaxes", "swapdims", "channel_shuffle", "rot90"),
            *("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"),
            *("clone", "contiguous", "repeat", "repeat_interleave", "tile", "roll", "flip"),
            *("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d"),
            *("replication_pad1d", "replication_pad2d", "replication_pad3d"),
            *("pixel_shuffle", "pixel_unshuffle", "im2col", "col2im"),
            *("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"),
            *("_upsample_nearest2d", "_upsample_nearest_exact2d"),
            *("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"),
            *("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
        ),
        "gather": (
            *("embedding", "embedding_bag", "gather", "index", "index_select", "take"),
            *("index_put", "index_add", "index_copy", "scatter", "scatter_add"),
            *("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"),
        ),
    }
)
# These only look at their input's memory in another way.
ATEN_VIEWS: Names = frozenset(
    (
        *("view", "reshape", "unsqueeze", "squeeze", "expand", "slice", "select", "chunk"),
        *("split", "split_with_sizes", "unbind", "flatten", "unflatten", "alias", "detach"),
        *("getitem", "narrow", "to", "_to_copy", "dropout", "feature_dropout", "alpha_dropout"),
        *("view_as", "reshape_as", "expand_as", "broadcast_to", "type_as", "unfold"),
        *("as_strided", "diagonal", "tensor_split", "ravel", "_reshape_alias", "lift_fresh"),
        *("view_as_real", "view_as_complex", "real", "imag", "unsafe_chunk", "unsafe_split"),
    )
)
# Of a weight these are views too: it is laid out when the network is loaded.
ATEN_TRANSPOSES: Names = frozenset(
    (
        *("permute", "transpose", "t", "numpy_T", "mT", "mH", "adjoint"),
        *("movedim", "moveaxis", "swapaxes", "swapdims"),
    )
)
# Known when a network is loaded, not when it runs.
ATEN_CONSTANTS: Names = frozenset(
    (
        *("arange", "linspace", "eye", "full", "zeros", "ones", "empty", "scalar_tensor"),
        *("full_like", "zeros_like", "ones_like", "empty_like"),
        *("new_full", "new_zeros", "new_ones", "new_empty", "lift_fresh_copy"),
    )
)

# What Core ML's intermediate language calls an operation -> its kind. Everything that it has is
# here or below: an operation that we don't know may be a matrix product, and is refused.
MIL = _kinds(
    {
        "convolution": ("conv", "conv_transpose", "conv_quantized"),
        "matmul": ("einsum", "linear", "matmul", "gru", "lstm", "rnn"),
        "attention": ("scaled_dot_product_attention",),
        "normalisation": (
            *("batch_norm", "instance_norm", "layer_norm", "l2_norm", "local_response_norm"),
            "softmax",
        ),
        "movement": (
            *("transpose", "concat", "stack", "pad", "tile", "reverse", "reverse_sequence"),
            *("depth_to_space", "space_to_depth", "batch_to_space", "space_to_batch"),
            *("pixel_shuffle", "pixel_unshuffle", "sliding_windows", "slice_update"),
            *("upsample_nearest_neighbor", "upsample_bilinear", "resize"),
            *("resize_nearest_neighbor", "resize_bilinear", "write_state"),
        ),
        "gather": (
            *("gather", "gather_along_axis", "gather_nd", "resample", "affine", "crop_resize"),
            *("scatter", "scatter_along_axis", "scatter_nd"),
        ),
        "elementwise": (
            *("abs", "acos", "add", "asin", "atan", "atanh", "ceil", "clip", "cos", "cosh"),
            *("equal", "erf", "exp", "exp2", "floor", "floor_div", "greater", "greater_equal"),
            *("inverse", "less", "less_equal", "log", "logical_and", "logical_not"),
            *("logical_or", "logical_xor", "maximum", "minimum", "mod", "mul", "not_equal"),
            *("pow", "real_div", "round", "rsqrt", "select", "sign", "sin", "sinh", "sqrt"),
            *("square", "sub", "tan", "tanh", "threshold", "quantize", "dequantize"),
            *("clamped_relu", "elu", "gelu", "leaky_relu", "linear_activation", "prelu"),
            *("relu", "relu6", "scaled_tanh", "sigmoid", "sigmoid_hard", "silu", "softplus"),
            *("softplus_parametric", "softsign", "thresholded_relu"),
            *("avg_pool", "l2_pool", "max_pool"),
            *("reduce_argmax", "reduce_argmin", "reduce_l1_norm", "reduce_l2_norm"),
            *("reduce_log_sum", "reduce_log_sum_exp", "reduce_max", "reduce_mean"),
            *("reduce_min", "reduce_prod", "reduce_sum", "reduce_sum_square"),
            *("argsort", "band_part", "classify", "cumsum", "one_hot", "topk"),
            "non_maximum_suppression",
        ),
    }
)
MIL_VIEWS: Names = frozenset(
    (
        *("reshape", "reshape_like", "expand_dims", "squeeze", "flatten2d", "identity", "cast"),
        *("slice_by_index", "slice_by_size", "split", "crop", "read_state"),
    )
)
MIL_CONSTANTS: Names = frozenset(
    (
        *("const", "fill", "fill_like", "range_1d", "shape"),
        *("random_bernoulli", "random_categorical", "random_normal", "random_uniform"),
    )
)
# Weights that are stored smaller than they are; what comes out was computed at loading.
MIL_COMPRESSED: Names = frozenset(
    (
        *("constexpr_affine_dequantize", "constexpr_blockwise_shift_scale", "constexpr_cast"),
        *("constexpr_lut_to_dense", "constexpr_lut_to_sparse", "constexpr_sparse_to_dense"),
        "constexpr_sparse_blockwise_shift_scale",
    )
)

"""Count what a forward pass does, operator by operator, without weights and without a GPU.

On torch's meta device a tensor has a shape and no values, so a network of any size can be run in
seconds. Each operator that torch dispatches is one kernel; it reads its inputs and writes its
outputs. Attention is counted as the fused kernel that a GPU runs, not as what meta breaks it into;
or as two products with a softmax between, each written out, for software that does so.

    flops      by the formulas of torch.utils.flop_counter; an operator without one has none
    bytes      inputs and outputs, weights included, of every operator that is not a view
    live       bytes of the tensors alive at each operator, weights excluded
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from diffusion_bench.records import Record

# What an operator's name tells; the first that is in it decides.
CLASSES = (
    ("convolution", "convolution"),
    ("bmm", "attention"),  # both factors are activations: a product of an attention written out
    ("softmax", "attention"),
    ("addmm", "matmul"),
    ("mm", "matmul"),
    ("norm", "normalisation"),
)
# They give memory, or look at it, and start no kernel.
WITHOUT_KERNEL = (
    "empty",
    "empty_like",
    "empty_strided",
    "new_empty",
    "empty_permuted",
    "lift_fresh",
)


class Tally(Record):
    """The work of one class of operators."""

    flops: int = 0
    bytes_moved: int = 0
    launches: int = 0


class Counter(TorchDispatchMode):
    """Counts the operators that run inside it; `tallies` and `live_bytes` hold the outcome."""

    def __init__(self, *, plain_attention: bool = False) -> None:
        super().__init__()
        self.tallies: dict[str, Tally] = {}
        self.live_bytes: list[int] = []
        self._live = Live()
        self._attention = PlainAttention() if plain_attention else FusedAttention(self)

    def __enter__(self) -> Counter:
        self._attention.__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._attention.__exit__(*error)

    def hold(self, *tensors: torch.Tensor) -> None:
        """Take what the caller feeds as alive."""
        self._live.add(tensors)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and count it."""
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if func.is_view or name in WITHOUT_KERNEL:
            return out
        formula = flop_registry.get(func.overloadpacket)
        flops = formula(*args, **(kwargs or {}), out_val=out) if formula else 0
        self.count(operator_class(name), flops, (args, kwargs), out)
        return out

    def count(self, operator: str, flops: int, inputs: Any, out: Any) -> None:
        """Add one kernel to its class, and look at what is alive now that it has run."""
        before = self.tallies.get(operator, Tally())
        written = list(_tensors(out))
        moved = sum(t.numel() * t.element_size() for t in (*_tensors(inputs), *written))
        self.tallies[operator] = Tally(
            flops=before.flops + int(flops),
            bytes_moved=before.bytes_moved + moved,
            launches=before.launches + 1,
        )
        self._live.add(written)
        self.live_bytes.append(self._live.total_bytes)


class Attention(TorchFunctionMode):
    """Stands in for torch's attention; lets every other function through."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function, attention in our way."""
        kwargs = kwargs or {}
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        named = dict(zip(("query", "key", "value", "attn_mask"), args, strict=False)) | kwargs
        query, key, value = named["query"], named["key"], named["value"]
        if key.shape[1] != query.shape[1]:  # each head of keys serves several of queries
            heads = query.shape[1] // key.shape[1]
            key, value = (t.repeat_interleave(heads, dim=1) for t in (key, value))
        return self.attend(query, key, value, named.get("attn_mask"))

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Return a tensor of the shape of attention's output."""
        raise NotImplementedError


class FusedAttention(Attention):
    """One kernel, which keeps its scores on the chip."""

    def __init__(self, counter: Counter) -> None:
        super().__init__()
        self._counter = counter

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Count one kernel."""
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))
        flops = sdpa_flop_count(query.shape, key.shape, value.shape)
        self._counter.count("attention", flops, (query, key, value, mask), out)
        return out


class PlainAttention(Attention):
    """Two products with a softmax between, each written out in full."""

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Run the three; the dispatcher counts them. Masks are added in the first product."""
        shape = query.shape[:2]
        query, key, value = (t.flatten(0, 1) for t in (query, key, value))
        scores = torch.bmm(query, key.transpose(1, 2))
        heads = torch.bmm(scores.softmax(dim=-1), value)
        unfolded: torch.Tensor = heads.unflatten(0, shape)
        return unfolded


class Live:
    """The bytes of the tensors alive, each storage once, until the last view of it is gone."""

    def __init__(self) -> None:
        self.total_bytes = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def add(self, tensors: Any) -> None:
        """Watch the storages of tensors that are not watched yet."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if id(storage) not in self._known:
                self._watch(storage)

    def _watch(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def gone(_: Any) -> None:
            self.total_bytes -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, gone)
        self.total_bytes += size


def operator_class(name: str) -> str:
    """Return the class of one of torch's operators."""
    return next((found for part, found in CLASSES if part in name), "elementwise")


def count_call(
    call: Callable[..., Any],
    inputs: tuple[Any, ...],
    named: dict[str, Any] | None = None,
    *,
    plain_attention: bool = False,
) -> Counter:
    """Return the counter after one call, without gradients; the inputs count as alive."""
    counter = Counter(plain_attention=plain_attention)
    counter.hold(*_tensors((inputs, named)))
    with torch.no_grad(), counter:
        call(*inputs, **(named or {}))
    return counter


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))

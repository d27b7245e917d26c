"""A mock of a device without float64, such as Apple's GPUs. Its tensors are really on the CPU."""

from contextlib import contextmanager

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


class OnDevice(torch.Tensor):
    """A tensor on the device. Results computed from it are also on the device, until `cpu` moves them to the host."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        result = super().__torch_function__(function, types, args, kwargs or {})
        if function is torch.Tensor.cpu:
            return result.as_subclass(torch.Tensor)
        for part in result if isinstance(result, tuple | list) else [result]:
            if isinstance(part, OnDevice) and part.dtype == torch.float64:
                raise TypeError(f"{getattr(function, '__name__', function)}: the device has no float64")
        return result


class _Moving(TorchFunctionMode):
    """Puts each tensor that is created with a ``device``, or moved to one, on the device."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        named = (kwargs or {}).get("device") is not None or (
            function is torch.Tensor.to and any(isinstance(given, torch.device) for given in args)
        )
        if named and type(result) is torch.Tensor and function is not torch.Tensor.cpu:
            if result.dtype == torch.float64:
                raise TypeError(f"{getattr(function, '__name__', function)}: the device has no float64")
            return result.as_subclass(OnDevice)
        return result


@contextmanager
def refusing():
    """Inside the block, tensors that are created with a ``device``, or moved to one, are `OnDevice`."""
    with _Moving():
        yield


def moved(model: nn.Module) -> nn.Module:
    """The model in float32, with all parameters and buffers on the device."""
    model = model.float()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            module._parameters[name] = nn.Parameter(parameter.data.as_subclass(OnDevice))
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.as_subclass(OnDevice)
    return model

"""Which parameters of a network are trained, and at which rate."""

from collections.abc import Callable, Iterable, Mapping

from torch import nn
from torch.optim import Optimizer


def freeze(network: nn.Module, names: Iterable[str]) -> None:
    """Exclude modules from training, by their dotted names.

    Raises:
        ValueError: the network has no module of a name.
    """
    check_names(network, names)
    for name in names:
        network.get_submodule(name).requires_grad_(False)


def check_names(network: nn.Module, names: Iterable[str]) -> None:
    """Check that modules of these dotted names exist.

    Raises:
        ValueError: the network has no module of a name.
    """
    modules = dict(network.named_modules())
    for name in names:
        if name not in modules:
            known = ", ".join(module for module in modules if module.count(".") == 1)
            raise ValueError(f"the network has no {name!r}; it has {known}")


def make_optimizer(
    optimizer: Callable[[Iterable], Optimizer], network: nn.Module, rates: Mapping[str, float]
) -> Optimizer:
    """An optimiser for the parameters that are trained.

    Args:
        optimizer: makes it from parameters or groups of parameters.
        network: whose parameters are trained.
        rates: of modules by their dotted names, as multiples of the optimiser's own rate. Of a
            module within another, the inner one's counts.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            within = [module for module in rates if name.startswith(f"{module}.")]
            groups.setdefault(rates[max(within, key=len)] if within else 1.0, []).append(weight)
    if not rates:
        return optimizer(groups.get(1.0, []))
    made = optimizer([{"params": weights} for weights in groups.values()])
    for group, rate in zip(made.param_groups, groups, strict=True):
        group["lr"] *= rate
    return made

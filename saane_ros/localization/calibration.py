"""From distances to evidence: a logistic fit of how much more likely a place is than chance.

Published off-route models (Xu, Milford et al., RA-L 2021) draw their evidence from odometry. Here
it comes from the descriptors: p1 is the density of standardised distances z of genuine pairs on
held-out routes, p0 that of impostor pairs, and log p1(z)/p0(z) is fitted by a line. Given place i
the likelihood of all distances is p1(z_i) prod_{j != i} p0(z_j), given "off the route" it is
prod_j p0(z_j); the common product cancels, so that off-route has log-likelihood 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saane_ros.errors import SaaneError
from saane_ros.types import Calibration

RIDGE = 1e-5
"""Keeps the fit finite where genuine and impostor pairs separate perfectly."""


def standardise(distances: NDArray[np.floating]) -> NDArray[np.float64]:
    """z = (d - median) / (97.5 % quantile - 2.5 % quantile) of one query's distances (N,).

    All zero where the distances do not spread, as a query that fits every place alike says nothing.
    """
    values = np.asarray(distances, dtype=np.float64)
    low, median, high = np.quantile(values, (0.025, 0.5, 0.975))
    if high - low <= 0:
        return np.zeros_like(values)
    return (values - median) / (high - low)


def fit_calibration(
    genuine_z: NDArray[np.floating], impostor_z: NDArray[np.floating]
) -> Calibration:
    """Fit log p1(z)/p0(z) = offset - slope z by logistic regression, both classes weighing alike.

    genuine_z, impostor_z: standardised distances of pairs of one place and of two places. Newton's
    method on the two parameters, with a small ridge on the slope. Raises SaaneError where a class
    is empty or genuine pairs are no closer than impostors.
    """
    genuine = np.asarray(genuine_z, dtype=np.float64).ravel()
    impostor = np.asarray(impostor_z, dtype=np.float64).ravel()
    if genuine.size == 0 or impostor.size == 0:
        raise SaaneError("A calibration needs genuine and impostor pairs: give both.")
    z = np.concatenate((genuine, impostor))
    target = np.concatenate((np.ones(genuine.size), np.zeros(impostor.size)))
    weight = np.where(target > 0, 0.5 / genuine.size, 0.5 / impostor.size)
    slope, offset = _newton(z, target, weight)
    if not slope > 0:
        raise SaaneError(
            "Genuine pairs are no closer than impostors, so distances mean nothing: "
            "train the model further or check the ground truth."
        )
    return Calibration(slope=float(slope), offset=float(offset))


def _newton(
    z: NDArray[np.float64], target: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Minimise the weighted logistic loss of offset - slope z, plus RIDGE / 2 slope^2."""
    design = np.stack((-z, np.ones_like(z)), axis=1)
    ridge = np.diag((RIDGE, 0.0))

    def loss(parameters: NDArray[np.float64]) -> float:
        logit = design @ parameters
        data = weight @ (np.logaddexp(0.0, logit) - target * logit)
        return float(data + 0.5 * parameters @ ridge @ parameters)

    parameters = np.zeros(2)
    for _ in range(100):
        probability = 0.5 * (1.0 + np.tanh(0.5 * (design @ parameters)))
        gradient = design.T @ (weight * (probability - target)) + ridge @ parameters
        curvature = (design * (weight * probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(curvature + ridge + 1e-12 * np.eye(2), gradient)
        scale = 1.0
        while loss(parameters - scale * step) > loss(parameters) and scale > 1e-6:
            scale /= 2
        parameters = parameters - scale * step
        if float(np.abs(scale * step).max()) < 1e-10:
            break
    return float(parameters[0]), float(parameters[1])


def log_likelihood(
    distances: NDArray[np.floating], calibration: Calibration, temper: float, limit: float
) -> tuple[NDArray[np.float64], float]:
    """Tempered log p1/p0 of every place (N,), and the log-likelihood of being off the route.

    temper: in (0, 1], as successive frames are not independent.  limit: the most that one frame
    may say for the best place or against any place, since the line is fitted where there was data
    and not far beyond. The first is granted to off-route, so that places keep their differences.
    """
    line = temper * (calibration.offset - calibration.slope * standardise(distances))
    return np.maximum(line, -limit), max(0.0, float(line.max()) - limit)


def published_rate(distances: NDArray[np.floating], delta: float) -> float:
    """lambda of g_i = exp(-lambda d_i), by which the central 95 % of distances span odds of delta.

    Xu, Suenderhauf, Milford (RA-L 2020): lambda = ln(delta) / (Q_0.975 - Q_0.025) of the first
    query's distances (N,); 0 where these do not spread.
    """
    low, high = np.quantile(np.asarray(distances, dtype=np.float64), (0.025, 0.975))
    return float(np.log(delta) / (high - low)) if high > low else 0.0

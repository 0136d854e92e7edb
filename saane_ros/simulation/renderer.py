"""One frame of a traverse: geometry, light, weather and sensor put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saane_ros.simulation import atmosphere, lighting, rasterizer, shadows
from saane_ros.simulation.camera import Camera, Viewpoint
from saane_ros.simulation.conditions import Light
from saane_ros.simulation.mesh import Faces, join
from saane_ros.simulation.seeds import stream
from saane_ros.simulation.sensor import expose
from saane_ros.simulation.surfaces import View, look_up
from saane_ros.simulation.town import Town
from saane_ros.simulation.traffic import Present
from saane_ros.types import Rgb

DROPS_LAST_FRAMES = 12
"""Drops stay on the lens this long before a wiper or the wind changes them."""


@dataclass(frozen=True)
class Picture:
    """image (H, W, 3), labels uint8 (H, W), depth float32 (H, W) in metres, infinite for sky."""

    image: Rgb
    labels: NDArray[np.uint8]
    depth: NDArray[np.float32]


class Renderer:
    """Draws a town under one light; everything random comes from `seed` and the frame's index."""

    def __init__(self, town: Town, light: Light, seed: int, camera: Camera) -> None:
        self.town, self.light, self.seed, self.camera = town, light, seed, camera
        self.clouds = atmosphere.cloud_panorama(seed)

    def render(self, where: Viewpoint, present: list[Present], index: int) -> Picture:
        """The picture from `where` with the agents `present`."""
        faces = self._visible(where, present)
        projection = rasterizer.project(faces, where, self.camera)
        ids = rasterizer.paint(projection, self.camera, self._down(where))
        view = look_up(projection, ids, self.camera, self.town.atlas)
        radiance = self._radiance(faces, view, where, present)
        image = radiance.reshape(self.camera.height, self.camera.width, 3)
        self._precipitate(image, index)
        rng = stream(self.seed, "sensor", index)
        labels = np.concatenate([np.zeros(1, np.uint8), faces.label]).take(ids)
        depth = np.where(ids > 0, 1 / view.inverse_depth.reshape(ids.shape), np.inf)
        return Picture(expose(image, ids, self.light, rng), labels, depth.astype(np.float32))

    def _visible(self, where: Viewpoint, present: list[Present]) -> Faces:
        """The ground face, what can be seen of the town, and the agents' faces."""
        faces = self.town.content.faces
        rows = rasterizer.select(faces, where, self.camera, self.light.leaves)
        static = faces.take(np.concatenate([[0], rows]))
        moving = [agent.faces for agent in present]
        if not moving:
            return static
        bodies = join(moving)
        toward = where.centre - bodies.frame[:, 0]
        front = np.einsum("ij,ij->i", bodies.normal, toward) > 0
        return join([static, bodies.take(front | bodies.two_sided)])

    def _down(self, where: Viewpoint) -> NDArray[np.bool_]:
        px, py = self.camera.rays
        up = where.rotation[0, 2] * px + where.rotation[1, 2] * py + where.rotation[2, 2]
        return np.asarray(up < -1e-4)

    def _radiance(
        self, faces: Faces, view: View, where: Viewpoint, present: list[Present]
    ) -> NDArray[np.float32]:
        light, camera = self.light, self.camera
        albedo = view.albedo
        if light.snow > 0:
            atmosphere.snow_cover(albedo, faces, view, light.snow)
        ground = lighting.ground_pixels(faces, view)
        if light.wet > 0:
            albedo[ground] *= np.float32(1 - 0.45 * light.wet)
        radiance = lighting.irradiance(faces, light).take(view.rows, axis=0) * albedo
        lighting.shadow_factor(radiance, self._shadows(where, present), ground, light)
        if light.lamps > 0:
            lamps = self.town.content.lamps
            lit = lighting.lamp_light(view, camera, where, lamps, light.lamps)
            lit += lighting.beam_light(view, camera, light.headlights)
            radiance += lit * albedo
            radiance += lighting.window_light(faces, view, light, self.seed)
            radiance += lighting.glow(faces, view, light)
        heaven = view.rows == 0
        radiance[heaven] = atmosphere.sky(camera, where, light, self.clouds)[heaven]
        if light.wet > 0:
            atmosphere.wet_reflections(radiance, ground, camera, where, light.wet)
        atmosphere.add_haze(radiance, view, light)
        return radiance

    def _shadows(self, where: Viewpoint, present: list[Present]) -> NDArray[np.uint8]:
        if sum(self.light.sun) > 0:
            content, sun = self.town.content, self.light.sun_direction
            mask = shadows.sun_shadows(content.walls, sun, where, self.camera)
            if self.light.leaves:
                shadows.tree_shadows(mask, content.crowns, sun, where, self.camera)
        else:
            mask = np.zeros((self.camera.height, self.camera.width), dtype=np.uint8)
        shadows.contact_shadows(mask, present, where, self.camera)
        return mask

    def _precipitate(self, image: NDArray[np.float32], index: int) -> None:
        if self.light.streaks > 0:
            atmosphere.add_streaks(image, self.light, stream(self.seed, "streaks", index))
            drops = stream(self.seed, "drops", index // DROPS_LAST_FRAMES)
            atmosphere.add_drops(image, self.light, drops)
        if self.light.flakes > 0:
            atmosphere.add_flakes(image, self.light, stream(self.seed, "flakes", index))

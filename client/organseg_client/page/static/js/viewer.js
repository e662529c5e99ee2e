// The image, its slices and the organs' colours on it: a thin layer over NiiVue.
//
// Everything that comes from the server is in display order: x to the patient's left, y to the
// posterior, z to the head. NiiVue keeps volumes the other way round in x and y (to the right, to
// the front), so one slice of labels enters its bitmap back to front.

const VIEWS = { axial: 0, planes: 3, solid: 4 };
const WINDOWING = 9;

export class Viewer {
  /** `onMove({x, y, z, value})` is told where the crosshair is, in display order. */
  constructor(canvas, onMove) {
    this.canvas = canvas;
    this.onMove = onMove;
    this.onDraw = () => {};
    this.scan = null;
    this.view = "axial";
    this.visible = true;
    this.opacity = 0.45;
  }

  async start(organs) {
    const nv = new window.niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.37, 0.72, 0.8, 0.55],
      crosshairWidth: 0,
      dragAndDropEnabled: false,
      dragMode: WINDOWING,
      fontColor: [0.77, 0.82, 0.85, 1],
      fontMinPx: 13,
      isRadiologicalConvention: true,
      isForceMouseClickToVoxelCenters: true,
      logLevel: "error",
      loadingText: "",
      multiplanarShowRender: 1,
      multiplanarEqualSize: true,
      // Keys are the page's own; NiiVue would take V, C and P.
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
    });
    this.nv = nv;
    nv.keyDownListener = () => {};
    nv.keyUpListener = () => {};
    await nv.attachToCanvas(this.canvas);
    nv.drawRimOpacity = 1;
    nv.onLocationChange = (place) => this.#moved(place);
    nv.onIntensityChange = () => this.onDraw();
    const draw = nv.drawScene.bind(nv);
    nv.drawScene = (...args) => {
      const drawn = draw(...args);
      this.#drawn();
      return drawn;
    };
    nv.setDrawColormap(colourTable(organs));
  }

  /** Shows a scan from the bytes of its NIfTI. */
  async show(scan, bytes) {
    const nv = this.nv;
    while (nv.volumes.length) nv.removeVolumeByIndex(0);
    nv.closeDrawing();
    const step = scan.step;
    this.scan = scan;
    this.size = {
      width: Math.ceil(scan.size_hw[1] / step),
      height: Math.ceil(scan.size_hw[0] / step),
      slices: scan.slices,
    };
    nv.opts.isOrientationTextVisible = scan.knows_sides;
    await nv.loadFromArrayBuffer(bytes, "scan.nii");
    nv.createEmptyDrawing();
    // The window came with the header. What follows only sets numbers; `goTo` draws.
    this.setOpacity(this.opacity);
    this.setView("axial");
    this.fit();
    this.goTo(Math.floor((scan.slices - 1) / 2));
  }

  get slice() {
    return Math.round(this.nv.scene.crosshairPos[2] * this.size.slices - 0.5);
  }

  goTo(slice) {
    const { slices } = this.size;
    const held = Math.min(Math.max(slice, 0), slices - 1);
    const [x, y] = this.nv.scene.crosshairPos;
    this.nv.scene.crosshairPos = [x, y, (held + 0.5) / slices];
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }

  setView(view) {
    this.view = view;
    // A crosshair tells where planes cut each other; on one plane it only hides the image.
    this.nv.opts.crosshairWidth = view === "planes" ? 1 : 0;
    this.nv.setSliceType(VIEWS[view]);
  }

  setWindow(low, high) {
    const volume = this.nv.volumes[0];
    volume.cal_min = low;
    volume.cal_max = high;
    this.nv.refreshLayers(volume, 0);
    this.nv.drawScene();
  }

  fit() {
    this.nv.scene.volScaleMultiplier = 1;
    this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
  }

  zoom(factor) {
    if (this.view === "solid") {
      this.nv.setScale(Math.min(Math.max(this.nv.scene.volScaleMultiplier * factor, 0.5), 6));
      return;
    }
    const [x, y, z, scale] = this.nv.scene.pan2Dxyzmm;
    this.nv.setPan2Dxyzmm([x, y, z, Math.min(Math.max(scale * factor, 0.5), 12)]);
  }

  setOpacity(opacity) {
    this.opacity = opacity;
    this.nv.drawRimOpacity = this.visible && opacity > 0 ? 1 : 0;
    this.nv.setDrawOpacity(this.visible ? opacity : 0);
  }

  setVisible(visible) {
    this.visible = visible;
    this.setOpacity(this.opacity);
  }

  /** Colours organs: `labels` are bytes [H, W] of one slice, or [Z, H, W]; null clears them. */
  paint(labels, slice) {
    const bitmap = this.nv.drawBitmap;
    const plane = this.size.width * this.size.height;
    bitmap.fill(0);
    if (labels) {
      const slices = labels.length / plane;
      for (let z = 0; z < slices; z += 1) {
        const target = (slices === 1 ? slice : z) * plane;
        const end = target + plane - 1;
        const start = z * plane;
        for (let i = 0; i < plane; i += 1) bitmap[end - i] = labels[start + i];
      }
    }
    this.nv.refreshDrawing(true);
  }

  /** Where a place of the shown slice lies on the canvas, in CSS pixels; null unless axial. */
  placeOnCanvas() {
    if (this.view !== "axial" || !this.scan) return null;
    const z = this.nv.scene.crosshairPos[2];
    const first = this.nv.frac2canvasPos([0.75, 0.75, z]);
    const second = this.nv.frac2canvasPos([0.25, 0.25, z]);
    if (!first || !second) return null;
    const dpr = this.nv.uiData.dpr || 1;
    const across = (second[0] - first[0]) * 2;
    const down = (second[1] - first[1]) * 2;
    const left = first[0] - across / 4;
    const top = first[1] - down / 4;
    const [height, width] = this.scan.size_hw;
    return (x, y) => [(left + (across * x) / width) / dpr, (top + (down * y) / height) / dpr];
  }

  #moved(place) {
    if (!this.scan || !place.vox) return;
    const step = this.scan.step;
    this.onMove({
      x: (this.size.width - 1 - place.vox[0]) * step,
      y: (this.size.height - 1 - place.vox[1]) * step,
      z: place.vox[2],
      value: place.values?.[0]?.value,
    });
  }

  #drawn() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.onDraw();
    });
  }
}

/** NiiVue's table of label colours: entry 0 is background. */
function colourTable(organs) {
  const table = { R: [0], G: [0], B: [0], A: [0], labels: [""] };
  for (const organ of organs) {
    const [red, green, blue] = organ.colour_rgb;
    table.R[organ.id] = red;
    table.G[organ.id] = green;
    table.B[organ.id] = blue;
    table.A[organ.id] = 255;
    table.labels[organ.id] = organ.name;
  }
  return table;
}

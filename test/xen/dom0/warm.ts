/**
 * Runs in dom0: checkpoints a guest into a warm standby on the same host for N epochs from when that stands whole, ends the guest
 * and lets the standby go on. Prints the figures.
 */

import { WarmDomain } from '../../../backup/hypervisor/xen-warm.ts';
import type { HeldImage } from '../../../backup/image/followed-image.ts';
import { CHUNK_HEADROOM_BYTES, engine } from '../../../native/index.ts';
import { XenSource } from '../../../primary/hypervisor/xen.ts';
import { unpackXenState } from '../../../shared/hypervisor/xen-state.ts';
import { xl } from '../../../shared/hypervisor/xl.ts';
import { FedImage } from '../../support/fed-image.ts';

const [name = 'guest', epochs = '10', intervalMs = '200', dir = '.'] = process.argv.slice(2);

/** The guest as of its last epoch, which changes only by next(). */
class CapturedImage extends FedImage {
  readonly sizeBytes: number;
  readonly #source: XenSource;
  readonly #ram;
  readonly #encoder;
  readonly #dirty;
  #state: Buffer = Buffer.alloc(0);

  constructor(source: XenSource) {
    super();
    this.#source = source;
    this.sizeBytes = source.memory.sizeBytes;
    this.#ram = engine().anonymousMemory(this.sizeBytes);
    const memories = { memory: source.memory, shadow: this.#ram };
    this.#encoder = engine().createEncoder({ ...memories, threads: 1, maxSlabs: 4 });
    this.#dirty = engine().createBitmap(this.sizeBytes / 4096);
  }

  get state(): Buffer {
    return this.#state;
  }

  /** Captures the guest's next epoch. */
  next(): Promise<void> {
    return this.advance(async () => {
      await this.#source.pause();
      await this.#source.takeDirty(this.#dirty);
      const payloads = await this.#encode();
      this.#state = await this.#source.deviceState();
      await this.#source.resume();
      this.epoch += 1;
      return payloads;
    });
  }

  protected get held(): HeldImage {
    return { epoch: this.epoch, ram: this.#ram, state: this.#state };
  }

  async #encode(): Promise<Buffer[]> {
    const payloads: Buffer[] = [];
    for (let complete = false; !complete; ) {
      const result = await this.#encoder.encode(this.#dirty);
      complete = result.complete;
      for (const { buffer, payloadBytes, slab } of result.chunks) {
        const payload = buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + payloadBytes);
        // Nobody listens to the first epoch, which is the whole guest.
        if (this.epoch > 0) payloads.push(Buffer.from(payload));
        this.#encoder.release(slab);
      }
    }
    return payloads;
  }
}

const source = new XenSource({ name, hypervisor: 'xen', memoryBytes: 0, cpus: 0 });
await source.attach();
const image = new CapturedImage(source);
await image.next();
const warm = await WarmDomain.start(name, image, dir);
let whole = 0;
while (warm.alive && whole < Number(epochs)) {
  await new Promise((resolve) => setTimeout(resolve, Number(intervalMs)));
  await image.next();
  if (warm.whole) whole += 1;
}
await source.detach();
await xl('destroy', name);
const began = performance.now();
// The receiver is to outlive an agent, so that waiting for it keeps no process up by itself.
setInterval(() => {}, 1000);
await warm.goOn();
console.log(
  JSON.stringify({
    epochs: whole,
    goOnMs: Math.round(performance.now() - began),
    modelBytes: unpackXenState(image.state).model?.context.length ?? 0,
  }),
);
process.exit(0);

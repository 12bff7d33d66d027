/** A recorded guest made up for benchmarks: small, and busy to its last epoch. */

import { engine } from '../native/index.ts';
import { TraceWriter } from '../shared/hypervisor/trace-writer.ts';
import { PAGE_BYTES } from '../shared/vm.ts';

export interface BusyGuest {
  ramBytes: number;
  epochs: number;
  dirtyPages: number;
  epochMs: number;
}

/** Every epoch writes one word of each of its dirty pages, which lie all over the guest. */
export async function writeBusyTrace(path: string, guest: BusyGuest): Promise<void> {
  const pages = guest.ramBytes / PAGE_BYTES;
  const stride = Math.max(1, Math.floor(pages / guest.dirtyPages));
  const memory = engine().anonymousMemory(guest.ramBytes);
  const word = Buffer.alloc(8);
  const writer = await TraceWriter.create(path, memory, { name: 'busy', epochMs: guest.epochMs });
  for (let epoch = 1; epoch <= guest.epochs; epoch++) {
    const first = epoch % stride;
    const dirty = Uint32Array.from({ length: guest.dirtyPages }, (_, i) => first + i * stride);
    word.writeBigUInt64LE(BigInt(epoch));
    for (const page of dirty) memory.write(page * PAGE_BYTES + (epoch % 512) * 8, word);
    await writer.add(memory, dirty, { runMs: guest.epochMs, stopMs: 0, scanMs: 0 });
  }
  await writer.finish();
  memory.close();
}

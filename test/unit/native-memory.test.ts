import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';

const native = engine();
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-memory-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

describe('mapped memory', () => {
  it('of one file reaches every mapping of it', () => {
    const path = join(dir, 'image');
    const writer = native.openMemory(path, { sizeBytes: 8192, create: true, reserve: true });
    const reader = native.openMemory(path, { sizeBytes: 8192 });
    writer.write(4090, Buffer.from('across pages'));
    expect(reader.read(4090, 12).toString()).toBe('across pages');
    expect(() => reader.write(0, Buffer.from([1]))).toThrow(/EACCES/);
    expect(statSync(path).blocks * 512).toBeGreaterThanOrEqual(8192);
  });

  it('is flushed to its file by sync', async () => {
    const path = join(dir, 'image');
    const memory = native.openMemory(path, { sizeBytes: 4096, create: true });
    memory.write(0, Buffer.from('kept'));
    await memory.sync();
    expect(execFileSync('head', ['-c4', path]).toString()).toBe('kept');
  });

  it('grows a file when asked, never cuts it, and refuses a short one otherwise', () => {
    const path = join(dir, 'image');
    writeFileSync(path, Buffer.alloc(12288, 3));
    const part = native.openMemory(path, { sizeBytes: 4096, create: true });
    expect(part.sizeBytes).toBe(4096);
    expect(statSync(path).size).toBe(12288);
    expect(() => native.openMemory(path, { sizeBytes: 16384 })).toThrow(/EINVAL/);
    native.openMemory(path, { sizeBytes: 16384, create: true });
    expect(statSync(path).size).toBe(16384);
  });

  it('on a full tmpfs fails with ENOSPC at once and leaves no file', () => {
    const mount = join(dir, 'small');
    execFileSync('mkdir', [mount]);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount], { stdio: 'pipe' });
    } catch {
      // Not root: any file system is too small for this.
      const path = join(dir, 'huge');
      expect(() => native.openMemory(path, { sizeBytes: 2 ** 42, create: true, reserve: true })).toThrow();
      return;
    }
    try {
      const path = join(mount, 'image');
      const options = { sizeBytes: 2 ** 21, create: true, reserve: true };
      expect(() => native.openMemory(path, options)).toThrow(expect.objectContaining({ code: 'ENOSPC' }));
      expect(existsSync(path)).toBe(false);
    } finally {
      execFileSync('umount', [mount]);
    }
  });

  it('refuses what reaches beyond its end, and every use once closed', () => {
    const memory = native.anonymousMemory(4096);
    expect(() => memory.read(4000, 97)).toThrow(RangeError);
    expect(() => memory.read(-1, 1)).toThrow(RangeError);
    expect(() => memory.write(4095, Buffer.alloc(2))).toThrow(RangeError);
    expect(() => memory.write(0, 'text' as never)).toThrow(TypeError);
    memory.close();
    expect(() => memory.read(0, 1)).toThrow(/EBADF/);
    expect(() => native.anonymousMemory(100)).toThrow(/EINVAL/);
    expect(() => native.openMemory(join(dir, 'absent'), { sizeBytes: 4096 })).toThrow(/ENOENT/);
  });
});

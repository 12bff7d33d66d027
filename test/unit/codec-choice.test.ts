/** Which compression is chosen, for which link, from which experience. */

import { describe, expect, it } from 'vitest';
import { CodecChoice } from '../../shared/wire/codec-choice.ts';
import { LinkRate } from '../../shared/wire/link-rate.ts';

const MiB = 2 ** 20;
const choiceFor = (bitsPerS: number, atOnce = 1) => new CodecChoice(new LinkRate(bitsPerS), atOnce);
/** Time on a processor that nobody else wanted, and on one so many times busier. */
const free = (ns: number, busy = 1) => ({ cpuNs: ns, wallNs: ns * busy });

describe('the choice of compression', () => {
  it('is the strong codec on a slow link and none on a fast one', () => {
    expect(choiceFor(1e8).best).toBe('zstd2');
    expect(choiceFor(1.5e8).best).toBe('zstd1');
    expect(choiceFor(1e9).best).toBe('zstd1');
    expect(choiceFor(100e9).best).toBe('none');
  });

  it('cuts changes into words only for the strong codec on a slow link', () => {
    expect(choiceFor(5e7)).toMatchObject({ best: 'zstd2', grain: 'words' });
    expect(choiceFor(1.5e8)).toMatchObject({ best: 'zstd1', grain: 'words' });
    expect(choiceFor(1e9)).toMatchObject({ best: 'zstd1', grain: 'bytes' });
    expect(choiceFor(100e9)).toMatchObject({ best: 'none', grain: 'bytes' });
  });

  it('compresses on a faster link when several payloads are compressed at once', () => {
    expect(choiceFor(2e9).best).toBe('none');
    expect(choiceFor(2e9, 4).best).toBe('zstd1');
  });

  it('keeps to a tier while another is only a little faster, as noise makes it', () => {
    for (const nsPerByte of [3, 3.9, 4.5, 5, 5.3, 6]) {
      const choice = choiceFor(1e9);
      const seen: string[] = [];
      for (let i = 0; i < 400; i++) {
        const noise = 0.97 + (0.06 * ((i * 7919) % 101)) / 101;
        choice.learn('zstd1', MiB, MiB * 0.5 * noise, free(MiB * nsPerByte * noise));
        if (seen.at(-1) !== choice.best) seen.push(choice.best);
      }
      expect(['zstd1', 'zstd1 none']).toContain(seen.join(' '));
    }
  });

  it('leaves the processors alone where compressing hardly gains, as with floating point', () => {
    const choice = choiceFor(1e9, 2);
    expect(choice.best).toBe('zstd1');
    for (let i = 0; i < 40; i++) choice.learn('zstd1', MiB, MiB * 0.85, free(MiB * 1.8));
    expect(choice.best).toBe('none');
  });

  it('goes on compressing what halves, on a processor that others slow down', () => {
    const choice = choiceFor(1e9);
    expect(choice.best).toBe('zstd1');
    for (let i = 0; i < 40; i++) choice.learn('zstd1', MiB, MiB * 0.5, free(MiB * 4, 1.2));
    expect(choice.best).toBe('zstd1');
  });

  it('changes the level with the link, when that turns out slower or faster than assumed', () => {
    const link = new LinkRate();
    const choice = new CodecChoice(link);
    const sent = (ms: number) => {
      for (let i = 0; i < 16; i++) link.queued(0);
      for (let i = 0; i < 16; i++) link.taken(MiB, ((i + 1) * ms) / 16);
    };
    expect(choice.best).toBe('zstd1');
    sent(2000);
    expect(choice.best).toBe('zstd2');
    for (let i = 0; i < 20; i++) sent(200);
    expect(choice.best).toBe('zstd1');
  });

  it('gives up on data that does not compress, and comes back when it does', () => {
    const choice = choiceFor(1e9);
    for (let i = 0; i < 40; i++) {
      choice.learn('zstd1', MiB, MiB, free(2e6));
      choice.learn('snappy', MiB, MiB, free(1e6));
    }
    expect(choice.best).toBe('none');
    for (let i = 0; i < 40; i++) choice.learn('zstd1', MiB, MiB / 5, free(2e6));
    expect(choice.best).toBe('zstd1');
  });

  it('weighs a busy processor: compression that got slow is no longer worth it', () => {
    const choice = choiceFor(1e9);
    for (let i = 0; i < 40; i++) choice.learn('zstd1', MiB, MiB / 5, free(4e6, 12));
    expect(choice.best).not.toBe('zstd1');
  });

  it('holds a busy processor against every codec, not only against the one in use', () => {
    const choice = choiceFor(5e8);
    for (let i = 0; i < 40; i++) choice.learn('zstd1', MiB, MiB / 3, free(MiB * 2.9, 2));
    expect(choice.best).toBe('zstd1');
    for (let i = 0; i < 40; i++) choice.learn('zstd1', MiB, MiB / 3, free(MiB * 2.9, 12));
    expect(choice.best).toBe('none');
  });

  it('tries none on a link that carries a payload long before it would be compressed', () => {
    const tried = (bitsPerS: number) => {
      const choice = choiceFor(bitsPerS);
      return new Set(Array.from({ length: 200 }, () => choice.next(MiB)));
    };
    expect([...tried(100e9)]).toEqual(['none']);
    expect([...tried(2e9)]).toEqual(['none', 'snappy']);
  });

  it('tries other codecs again once a busy processor is free', () => {
    const choice = choiceFor(1e9);
    for (let i = 0; i < 40; i++) choice.learn('zstd1', MiB, MiB / 5, free(4e6, 100));
    expect(choice.best).toBe('none');
    for (let i = 0; i < 2000; i++) {
      const tier = choice.next(MiB);
      choice.learn(tier, MiB, MiB / 5, free(4e6));
    }
    expect(choice.best).toBe('zstd1');
  });

  it('tries other codecs now and then, the one tried longest ago first', () => {
    const choice = choiceFor(5e9);
    const tried = new Set<string>();
    for (let i = 0; i < 100; i++) {
      const tier = choice.next(MiB);
      tried.add(tier);
      choice.learn(tier, MiB, MiB, free(1e6));
    }
    expect([...tried].sort()).toEqual(['none', 'snappy', 'zstd1']);
  });
});

describe('the rate of a link', () => {
  it('is assumed until more was sent at once than buffers swallow', () => {
    const link = new LinkRate();
    link.queued(0);
    link.taken(MiB, 0.1);
    expect(link).toMatchObject({ known: false, bitsPerS: 1e9 });
    for (let i = 0; i < 16; i++) link.queued(1000);
    for (let i = 0; i < 16; i++) link.taken(MiB, 1000 + (i + 1) * 80);
    expect(link.known).toBe(true);
    expect(link.bitsPerS).toBeCloseTo((16 * MiB * 8) / 1.28, -6);
  });

  it('stays as given when it is given', () => {
    const link = new LinkRate(10e9);
    link.queued(0);
    link.taken(100 * MiB, 10_000);
    expect(link).toMatchObject({ known: true, bitsPerS: 10e9 });
  });
});

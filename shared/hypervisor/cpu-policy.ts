/**
 * Whether a Xen host offers guests every CPU feature that a guest has been told of. Xen itself compares little more than how
 * many leaves there are, and a guest that goes on without an instruction it knows of dies of it.
 */

/** As `xc_cpu_policy_serialise` gives them: u32 leaf, subleaf, eax, ebx, ecx, edx. */
const LEAF_BYTES = 24;
const NO_SUBLEAF = 0xffffffff;
const registers = ['eax', 'ebx', 'ecx', 'edx'] as const;
type Register = (typeof registers)[number];

/** Where features are bits, each good for itself; `except` are bits that say something else. */
const featureWords: { leaf: number; subleaf?: number; register: Register; except?: number }[] = [
  { leaf: 0x1, register: 'ecx', except: 1 << 27 /* OSXSAVE */ },
  { leaf: 0x1, register: 'edx', except: 1 << 28 /* HTT: how to read a count */ },
  { leaf: 0x7, subleaf: 0, register: 'ebx', except: (1 << 6) | (1 << 13) /* what an FPU no longer does */ },
  { leaf: 0x7, subleaf: 0, register: 'ecx' },
  { leaf: 0x7, subleaf: 0, register: 'edx' },
  { leaf: 0x7, subleaf: 1, register: 'eax' },
  { leaf: 0xd, subleaf: 0, register: 'eax' },
  { leaf: 0xd, subleaf: 0, register: 'edx' },
  { leaf: 0xd, subleaf: 1, register: 'eax' },
  { leaf: 0x80000001, register: 'ecx', except: 1 << 1 /* CMP_LEGACY: how to read a count */ },
  { leaf: 0x80000001, register: 'edx', except: 0x0183f3ff /* on AMD, bits of leaf 1 again */ },
  { leaf: 0x80000007, register: 'edx' },
  { leaf: 0x80000008, register: 'ebx' },
];

/** In words for the operator; nothing, if the host offers all. */
export function missingFeatures(guest: Buffer, host: Buffer): string[] {
  const missing: string[] = [];
  for (const { leaf, subleaf = NO_SUBLEAF, register, except = 0 } of featureWords) {
    const lacks = word(guest, leaf, subleaf, register) & ~word(host, leaf, subleaf, register) & ~except;
    if (lacks === 0) continue;
    const of = subleaf === NO_SUBLEAF ? '' : `.${subleaf}`;
    missing.push(`leaf 0x${leaf.toString(16)}${of} ${register} bits 0x${(lacks >>> 0).toString(16)}`);
  }
  return missing;
}

/** 0 where the leaf is not there, as a processor answers too. */
function word(leaves: Buffer, leaf: number, subleaf: number, register: Register): number {
  for (let at = 0; at + LEAF_BYTES <= leaves.length; at += LEAF_BYTES) {
    if (leaves.readUInt32LE(at) !== leaf || leaves.readUInt32LE(at + 4) !== subleaf) continue;
    return leaves.readUInt32LE(at + 8 + 4 * registers.indexOf(register));
  }
  return 0;
}

// Numbers as text.

export const two = x => x.toFixed(2);
export const signed = (x, digits) => {
  const text = Math.abs(x).toFixed(digits);
  return (Number(text) === 0 ? '±' : x > 0 ? '+' : '−') + text;
};
export const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
export const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

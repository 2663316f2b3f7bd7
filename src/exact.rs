//! stub
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExactSum(i128);
impl ExactSum {
    pub fn add(&mut self, x: f64) {
        self.0 += (x * 1048576.0) as i128;
    }
    pub fn subtract(&mut self, x: f64) {
        self.0 -= (x * 1048576.0) as i128;
    }
    pub fn add_sum(&mut self, o: &ExactSum) {
        self.0 += o.0;
    }
    pub fn subtract_sum(&mut self, o: &ExactSum) {
        self.0 -= o.0;
    }
    pub fn value(&self) -> f64 {
        self.0 as f64 / 1048576.0
    }
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }
    pub fn from_bytes(b: &[u8]) -> Option<ExactSum> {
        Some(ExactSum(i128::from_le_bytes(b.try_into().ok()?)))
    }
}
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram(std::collections::BTreeMap<usize, i64>);
impl Histogram {
    pub fn add(&mut self, bin: usize, n: i64) {
        *self.0.entry(bin).or_default() += n;
        self.0.retain(|_, n| *n != 0)
    }
    pub fn add_histogram(&mut self, o: &Histogram) {
        for (b, n) in o.iter() {
            self.add(b, n)
        }
    }
    pub fn subtract_histogram(&mut self, o: &Histogram) {
        for (b, n) in o.iter() {
            self.add(b, -n)
        }
    }
    pub fn iter(&self) -> impl Iterator<Item = (usize, i64)> {
        self.0.iter().map(|(b, n)| (*b, *n))
    }
}

//! Exact sums against Python's `math.fsum`, which rounds once too.

use modelwatch::exact::ExactSum;
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    sums: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    numbers: Vec<f64>,
    sum: f64,
}

#[test]
fn sums_equal_those_of_python_to_the_last_bit() {
    let reference: Reference = serde_json::from_str(include_str!("reference/exact.json")).expect("valid JSON");
    assert!(reference.sums.len() >= 40);
    for case in reference.sums {
        let mut sum = ExactSum::default();
        case.numbers.iter().for_each(|x| sum.add(*x));
        assert_eq!(sum.value(), case.sum, "{:?}", case.numbers);
    }
}

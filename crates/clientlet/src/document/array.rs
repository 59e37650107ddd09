//! Converts between tensors and the arrays of the crate `ndarray`.

use ndarray::{ArrayBase, ArrayD, ArrayRef, Data, Dimension, IxDyn};

use super::tensor::TensorError;
use super::{Element, Tensor};

impl Tensor {
    /// Returns the elements as an array of numbers of type `T`, converted as
    /// [`to_vec`](Tensor::to_vec) does. `into_dimensionality` turns the array into one with a fixed
    /// number of dimensions.
    ///
    /// # Errors
    /// If `ndarray` cannot represent the shape. Only a tensor without elements can have such a
    /// shape.
    pub fn to_array<T: Element>(&self) -> Result<ArrayD<T>, TensorError> {
        ArrayD::from_shape_vec(IxDyn(self.shape()), self.to_vec()).map_err(|error| {
            TensorError::new(format!("no array has the shape {:?}: {error}", self.shape()))
        })
    }
}

impl<T: Element, D: Dimension> From<&ArrayRef<T, D>> for Tensor {
    /// Copies the elements in C order, whatever their order in memory.
    fn from(array: &ArrayRef<T, D>) -> Tensor {
        let tensor = match array.as_slice() {
            Some(elements) => Tensor::new(array.shape(), elements),
            None => Tensor::new(array.shape(), &array.iter().copied().collect::<Vec<T>>()),
        };
        tensor.expect("an array has as many elements as its shape says")
    }
}

impl<S: Data<Elem: Element>, D: Dimension> From<&ArrayBase<S, D>> for Tensor {
    /// Copies the elements in C order.
    fn from(array: &ArrayBase<S, D>) -> Tensor {
        Tensor::from(&**array)
    }
}

impl<S: Data<Elem: Element>, D: Dimension> From<ArrayBase<S, D>> for Tensor {
    /// Copies the elements in C order.
    fn from(array: ArrayBase<S, D>) -> Tensor {
        Tensor::from(&*array)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, Ix2, arr2};

    use super::*;
    use crate::Dtype;

    #[test]
    fn an_array_in_any_memory_order_becomes_a_tensor_in_c_order_and_comes_back() {
        let array = arr2(&[[1_i32, 2, 3], [4, 5, 6]]);
        let mut upside_down = array.view();
        upside_down.invert_axis(Axis(0));
        let views = [array.view(), array.t(), upside_down];
        for view in views {
            let tensor = Tensor::from(&view);
            assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::I32, view.shape()));
            let back: Array2<i32> =
                tensor.to_array().unwrap().into_dimensionality::<Ix2>().unwrap();
            assert_eq!(back, view);
        }
        assert_eq!(Tensor::from(array.clone()), Tensor::from(&array));
        let single = Tensor::from(array).to_array::<f32>().unwrap();
        assert_eq!(single[[1, 2]], 6.0, "elements are converted");
    }

    #[test]
    fn a_shape_that_ndarray_cannot_represent_is_an_error() {
        let tensor = Tensor::new::<f32>(&[0, usize::MAX / 2, 4], &[]).unwrap();
        assert!(tensor.to_array::<f32>().unwrap_err().to_string().contains("no array has"));
    }
}
